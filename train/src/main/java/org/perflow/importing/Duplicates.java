package org.perflow.importing;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.perflow.importing.Preparation.About;

/** Pictures that are there more than once. */
final class Duplicates {
  private static final int BANDS = PerceptualHash.NEAR + 1;

  private Duplicates() {}

  /** Names of files with the same bytes, in groups. */
  static List<List<String>> exact(List<About> pictures) {
    return groups(pictures, About::sha256);
  }

  /**
   * Names of pictures that look the same, in groups, of files with the same bytes the first alone.
   * Two are in one group where others lead from one to the other.
   */
  static List<List<String>> near(List<About> pictures) {
    Map<String, About> files = new LinkedHashMap<>();
    pictures.forEach(picture -> files.putIfAbsent(picture.sha256(), picture));
    long[] hashes = files.values().stream().mapToLong(About::hash).distinct().toArray();
    int[] leaders = leaders(hashes);
    Map<Long, Integer> groups = new HashMap<>();
    for (int i = 0; i < hashes.length; i++) {
      groups.put(hashes[i], leader(leaders, i));
    }
    return groups(files.values(), picture -> groups.get(picture.hash()));
  }

  private static List<List<String>> groups(
      Collection<About> pictures, Function<About, Object> same) {
    Map<Object, List<String>> groups = new LinkedHashMap<>();
    pictures.forEach(
        picture ->
            groups
                .computeIfAbsent(same.apply(picture), any -> new ArrayList<>())
                .add(picture.name()));
    return groups.values().stream().filter(group -> group.size() > 1).toList();
  }

  /**
   * Joins hashes that are near each other. Two that differ in n bits are equal in one of n + 1
   * parts, so only those with an equal part are compared.
   */
  private static int[] leaders(long[] hashes) {
    int[] leaders = new int[hashes.length];
    Arrays.setAll(leaders, i -> i);
    for (int band = 0; band < BANDS; band++) {
      int from = band * Long.SIZE / BANDS;
      int bits = (band + 1) * Long.SIZE / BANDS - from;
      Map<Long, List<Integer>> equal = new HashMap<>();
      for (int i = 0; i < hashes.length; i++) {
        long part = hashes[i] >>> from & (1L << bits) - 1;
        List<Integer> others = equal.computeIfAbsent(part, any -> new ArrayList<>());
        for (int other : others) {
          if (Long.bitCount(hashes[i] ^ hashes[other]) <= PerceptualHash.NEAR) {
            leaders[leader(leaders, i)] = leader(leaders, other);
          }
        }
        others.add(i);
      }
    }
    return leaders;
  }

  private static int leader(int[] leaders, int of) {
    int at = of;
    while (leaders[at] != at) {
      leaders[at] = leaders[leaders[at]];
      at = leaders[at];
    }
    return at;
  }
}
