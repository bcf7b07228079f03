package org.perflow.pipeline;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A piece of a prompt and how much it counts, in the widespread notation: {@code (this:1.2)} counts
 * 1.2 times, {@code (this)} 1.1 times and {@code [this]} 1/1.1 times, nested brackets multiply, and
 * a backslash takes a bracket literally. Brackets left open hold to the end.
 */
record WeightedText(String text, double weight) {
  private static final double ROUND = 1.1;
  private static final double SQUARE = 1 / 1.1;
  private static final int MOST_OPEN = 100; // brackets, each a walk over what is in it
  private static final double HEAVIEST = 1000; // a few times are usual
  private static final Pattern PART =
      Pattern.compile(
          "\\\\[\\\\()\\[\\]]|\\(|\\[|:\\s*([+-]?[0-9]*\\.?[0-9]+)\\s*\\)|\\)|]"
              + "|[^\\\\()\\[\\]:]+|.",
          Pattern.DOTALL);

  /**
   * The pieces of {@code prompt} in order; neighbours of one weight are one piece.
   *
   * @throws IllegalArgumentException where too many brackets are open at once, or a piece counts
   *     more than 1,000 times
   */
  static List<WeightedText> parse(String prompt) {
    List<WeightedText> pieces = new ArrayList<>();
    Deque<Integer> round = new ArrayDeque<>(); // pieces before each bracket that is open
    Deque<Integer> square = new ArrayDeque<>();
    Matcher parts = PART.matcher(prompt);
    while (parts.find()) {
      String part = parts.group();
      if (round.size() + square.size() > MOST_OPEN) {
        throw new IllegalArgumentException(
            "over %d brackets are open at once in the prompt; a backslash before one takes it literally"
                .formatted(MOST_OPEN));
      }
      if (part.equals("(")) {
        round.push(pieces.size());
      } else if (part.equals("[")) {
        square.push(pieces.size());
      } else if (parts.group(1) != null && !round.isEmpty()) {
        multiply(pieces, round.pop(), Double.parseDouble(parts.group(1)));
      } else if (part.equals(")") && !round.isEmpty()) {
        multiply(pieces, round.pop(), ROUND);
      } else if (part.equals("]") && !square.isEmpty()) {
        multiply(pieces, square.pop(), SQUARE);
      } else {
        boolean escaped = part.length() == 2 && part.charAt(0) == '\\';
        pieces.add(new WeightedText(escaped ? part.substring(1) : part, 1));
      }
    }
    round.forEach(from -> multiply(pieces, from, ROUND));
    square.forEach(from -> multiply(pieces, from, SQUARE));
    return merged(pieces);
  }

  private static void multiply(List<WeightedText> pieces, int from, double factor) {
    pieces
        .subList(from, pieces.size())
        .replaceAll(piece -> new WeightedText(piece.text, piece.weight * factor));
  }

  /** As much of a prompt as fits into a message. */
  static String brief(String text) {
    return text.codePointCount(0, text.length()) <= 300
        ? text
        : text.substring(0, text.offsetByCodePoints(0, 200))
            + "... (%,d characters)".formatted(text.length());
  }

  private static List<WeightedText> merged(List<WeightedText> pieces) {
    List<WeightedText> merged = new ArrayList<>();
    for (int from = 0, to = 0; from < pieces.size(); from = to) {
      double weight = pieces.get(from).weight;
      StringBuilder text = new StringBuilder();
      while (to < pieces.size() && pieces.get(to).weight == weight) {
        text.append(pieces.get(to++).text);
      }
      if (Math.abs(weight) > HEAVIEST) {
        throw new IllegalArgumentException(
            "'%s' counts %s times in the prompt; want at most %.0f"
                .formatted(brief(text.toString()), weight, HEAVIEST));
      }
      merged.add(new WeightedText(text.toString(), weight));
    }
    return List.copyOf(merged);
  }
}
