package org.perflow.importing;

import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.perflow.importing.LeftOut.Why;

/**
 * What an import made.
 *
 * @param train pictures to train with
 * @param heldOut pictures that are held out
 * @param sizes pictures of each size, such as "512x512"
 * @param captions how long captions are
 * @param leftOut pictures that were not taken
 * @param duplicates files that are the same, byte by byte, in groups
 * @param nearDuplicates pictures that look the same, in groups
 */
public record Imported(
    int train,
    int heldOut,
    Map<String, Integer> sizes,
    CaptionLengths captions,
    List<LeftOut> leftOut,
    List<List<String>> duplicates,
    List<List<String>> nearDuplicates) {
  public Imported {
    sizes = new TreeMap<>(sizes);
    leftOut = List.copyOf(leftOut);
    duplicates = List.copyOf(duplicates);
    nearDuplicates = List.copyOf(nearDuplicates);
  }

  /**
   * Lengths of captions in tokens.
   *
   * @param limit tokens that a text encoder reads, those of beginning and end not counted
   * @param longest of them
   * @param median of them
   * @param over captions that are longer than the limit, of which the rest is not read
   */
  public record CaptionLengths(int limit, int longest, int median, int over) {}

  /** Those left out, by reason. */
  public Map<Why, Long> reasons() {
    return leftOut.stream()
        .collect(
            Collectors.groupingBy(
                LeftOut::why, () -> new EnumMap<>(Why.class), Collectors.counting()));
  }
}
