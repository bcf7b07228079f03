package org.perflow.hub;

import java.util.Locale;

/** Sizes in words. */
final class Bytes {
  private Bytes() {}

  /** Such as {@code 4.27 GB}, in powers of a thousand as the hub counts. */
  static String text(long bytes) {
    String[] units = {"bytes", "kB", "MB", "GB", "TB", "PB"};
    double size = bytes;
    int unit = 0;
    while (size >= 1000 && unit + 1 < units.length) {
      size /= 1000;
      unit++;
    }
    return unit == 0
        ? bytes + " bytes"
        : String.format(Locale.ROOT, size < 10 ? "%.2f %s" : "%.0f %s", size, units[unit]);
  }
}
