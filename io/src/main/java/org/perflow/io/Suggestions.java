package org.perflow.io;

import java.util.Collection;
import java.util.Comparator;
import java.util.Locale;
import java.util.Optional;

/** Words for a name that is not known: what there is, and the nearest of it. */
public final class Suggestions {
  private Suggestions() {}

  public static String unknown(String what, String got, Collection<String> known) {
    String hint = nearest(got, known).map(name -> "; did you mean '" + name + "'?").orElse("");
    return "unknown " + what + " '" + got + "'; known: " + String.join(", ", known) + hint;
  }

  /** That of {@code known} which {@code got} was most likely meant to be, where any is near. */
  public static Optional<String> nearest(String got, Collection<String> known) {
    return known.stream()
        .min(Comparator.comparingInt(name -> distance(got, name)))
        .filter(name -> distance(got, name) <= name.length() / 2);
  }

  /** Levenshtein distance, ignoring case. */
  static int distance(String left, String right) {
    String a = left.toLowerCase(Locale.ROOT);
    String b = right.toLowerCase(Locale.ROOT);
    int[] row = new int[b.length() + 1];
    for (int i = 0; i <= a.length(); i++) {
      int diagonal = i - 1;
      for (int j = 0; j <= b.length(); j++) {
        int above = row[j];
        if (i == 0) {
          row[j] = j;
        } else if (j == 0) {
          row[j] = i;
        } else {
          int replace = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
          row[j] = Math.min(replace, Math.min(above, row[j - 1]) + 1);
        }
        diagonal = above;
      }
    }
    return row[b.length()];
  }
}
