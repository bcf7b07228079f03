package org.perflow.importing;

import java.nio.charset.StandardCharsets;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.zip.CRC32;

/**
 * Which captions are held out: in the order of a hash, as long as their pictures together are at
 * most the part asked for. So a test caption was never trained on, and what shows most of the
 * pictures is never taken away.
 */
final class Split {
  private Split() {}

  static Set<String> heldOut(List<Entry> entries, double part) {
    Map<String, Integer> pictures =
        new TreeMap<>(Comparator.comparingLong(Split::hash).thenComparing(text -> text));
    entries.forEach(entry -> pictures.merge(entry.caption(), 1, Integer::sum));
    long room = Math.round(part * entries.size());
    Set<String> held = new HashSet<>();
    for (Map.Entry<String, Integer> caption : pictures.entrySet()) {
      if (caption.getValue() <= room) {
        held.add(caption.getKey());
        room -= caption.getValue();
      }
    }
    return held;
  }

  private static long hash(String text) {
    CRC32 crc = new CRC32();
    crc.update(text.getBytes(StandardCharsets.UTF_8));
    return crc.getValue();
  }
}
