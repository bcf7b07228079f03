package org.perflow.models.text;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.text.Normalizer;
import java.util.BitSet;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Letters, numbers and small letters as the reference's tokenizer knows them (Unicode 16), whatever
 * the JDK's Unicode is: {@code unicode.txt} was read off it by {@code tools/unicode_classes.py}.
 */
public final class UnicodeTables {
  private static final Pattern SPACE = Pattern.compile("\\s+", Pattern.UNICODE_CHARACTER_CLASS);
  private static final Pattern MARKS = Pattern.compile("\\p{M}{1000}");
  private static final Pattern RANGE =
      Pattern.compile(
          "(?<from>\\p{XDigit}+)(-(?<to>\\p{XDigit}+))?((?<by>[+-]\\p{XDigit}+)(?<odd>/2)?)?");

  private static final BitSet LETTERS = new BitSet();
  private static final BitSet NUMBERS = new BitSet();
  private static final Map<Integer, Integer> SMALL = new HashMap<>();

  static {
    try (InputStream in = UnicodeTables.class.getResourceAsStream("unicode.txt")) {
      new String(Objects.requireNonNull(in).readAllBytes(), US_ASCII)
          .lines()
          .forEach(UnicodeTables::read);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private UnicodeTables() {}

  private static void read(String line) {
    String[] words = line.split(" ");
    for (int i = 1; i < words.length; i++) {
      Matcher range = RANGE.matcher(words[i]);
      if (!range.matches()) {
        throw new IllegalStateException("unicode.txt: " + words[i]);
      }
      int from = Integer.parseInt(range.group("from"), 16);
      int to = range.group("to") == null ? from : Integer.parseInt(range.group("to"), 16);
      switch (words[0]) {
        case "letters" -> LETTERS.set(from, to + 1);
        case "numbers" -> NUMBERS.set(from, to + 1);
        default -> {
          int by = Integer.parseInt(range.group("by"), 16);
          for (int c = from; c <= to; c += range.group("odd") == null ? 1 : 2) {
            SMALL.put(c, c + by);
          }
        }
      }
    }
  }

  /** Unicode's category L. */
  public static boolean isLetter(int c) {
    return LETTERS.get(c);
  }

  /** Unicode's category N. */
  public static boolean isNumber(int c) {
    return NUMBERS.get(c);
  }

  /** Unicode's White_Space. */
  public static boolean isSpace(int c) {
    return Character.isSpaceChar(c) || c >= '\t' && c <= '\r' || c == 0x85;
  }

  /** Composed, with one blank for every run of them, in small letters. */
  public static String normalise(String text) {
    return lowerCase(SPACE.matcher(composed(text)).replaceAll(" "));
  }

  /** NFC; runs of marks longer than any writing has in parts, as sorting one is quadratic. */
  private static String composed(String text) {
    StringBuilder composed = new StringBuilder();
    Matcher run = MARKS.matcher(text);
    int done = 0;
    while (run.find()) {
      composed.append(Normalizer.normalize(text.substring(done, run.end()), Normalizer.Form.NFC));
      done = run.end();
    }
    return composed
        .append(Normalizer.normalize(text.substring(done), Normalizer.Form.NFC))
        .toString();
  }

  /** Each code point by itself, as Rust's char: no final sigma, which depends on neighbours. */
  private static String lowerCase(String text) {
    StringBuilder lower = new StringBuilder(text.length());
    text.codePoints()
        .forEach(
            c -> {
              if (c == 0x130) { // the only one that becomes two: capital i with dot
                lower.append("i\u0307");
              } else {
                lower.appendCodePoint(SMALL.getOrDefault(c, c));
              }
            });
    return lower.toString();
  }
}
