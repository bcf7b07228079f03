package org.perflow.train;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Captions that nobody wrote: one that somebody did, half of whose pieces are those of another that
 * shares a word with it, and a few words of the tokenizer's, many of which the data never uses. So
 * "green heart, emotion" and "red book, green, reading" make "green book, reading". A student that
 * sees its data's captions only is near its teacher on these, and strays on others; simulated
 * window starts need no pictures, so it may be asked for anything. Not in the paper.
 */
final class MixedCaptions {
  private static final double SWAPPED = 0.5;
  private static final double RELATED = 0.75; // of the partners; others are any caption
  private static final double OTHER_WORDS = 0.125; // of the swapped pieces

  private final List<String> captions;
  private final List<String> words;
  private final Map<String, List<String>> byWord = new HashMap<>();

  /**
   * @param words that may stand in a piece's place; none = pieces of captions only
   */
  MixedCaptions(List<String> captions, List<String> words) {
    this.captions = List.copyOf(captions);
    this.words = List.copyOf(words);
    for (String caption : this.captions) {
      for (String word : Set.copyOf(wordsOf(caption))) {
        byWord.computeIfAbsent(word, key -> new ArrayList<>()).add(caption);
      }
    }
    // A word that many captions have says nothing of what they are about: "emoji", "of".
    int many = Math.max(2, captions.size() / 10);
    byWord.values().removeIf(sharing -> sharing.size() < 2 || sharing.size() > many);
  }

  /** That many captions. */
  List<String> draw(int count, Rng rng) {
    return Stream.generate(() -> compose(rng)).limit(count).toList();
  }

  /** Two captions' pieces, in any wording. */
  String compose(Rng rng) {
    String frame = captions.get(below(captions.size(), rng));
    List<String> mine = pieces(frame);
    List<String> theirs = pieces(partner(frame, rng));
    for (int i = 0; i < mine.size(); i++) {
      if (happens(SWAPPED, rng)) {
        boolean word = !words.isEmpty() && happens(OTHER_WORDS, rng);
        mine.set(i, word ? any(words, rng) : i == 0 ? first(mine, theirs, rng) : rest(theirs, rng));
      }
    }
    String composed =
        frame.contains(",") ? String.join(", ", new LinkedHashSet<>(mine)) : String.join(" ", mine);
    return any(Captions.variants(composed), rng);
  }

  private String partner(String frame, Rng rng) {
    List<List<String>> sharing =
        wordsOf(frame).stream().filter(byWord::containsKey).map(byWord::get).toList();
    boolean related = !sharing.isEmpty() && happens(RELATED, rng);
    return any(related ? any(sharing, rng) : captions, rng);
  }

  /** The other's beginning or, as often, the own with one word of it: "green heart", "red book". */
  private static String first(List<String> mine, List<String> theirs, Rng rng) {
    List<String> words = wordsOf(mine.get(0));
    List<String> others = new ArrayList<>(wordsOf(theirs.get(0)));
    List<String> own = new ArrayList<>(words);
    own.removeAll(others);
    others.removeAll(words);
    if (own.isEmpty() || others.isEmpty() || happens(0.5, rng)) {
      return theirs.get(0);
    }
    words.set(words.indexOf(any(own, rng)), any(others, rng));
    return String.join(" ", words);
  }

  private static String rest(List<String> pieces, Rng rng) {
    return pieces.get(pieces.size() == 1 ? 0 : 1 + below(pieces.size() - 1, rng));
  }

  /** What stands between commas, or words where there are none. */
  private static List<String> pieces(String caption) {
    return new ArrayList<>(
        List.of(caption.strip().split(caption.contains(",") ? ",\\s*" : "\\s+")));
  }

  private static List<String> wordsOf(String piece) {
    return new ArrayList<>(List.of(piece.strip().split("[,\\s]+")));
  }

  private static <T> T any(List<T> list, Rng rng) {
    return list.get(below(list.size(), rng));
  }

  private static boolean happens(double probability, Rng rng) {
    try (Scope scope = Scope.open()) {
      return Tensor.rand(rng, 1).item() < probability;
    }
  }

  private static int below(int bound, Rng rng) {
    try (Scope scope = Scope.open()) {
      return (int) Tensor.randint(rng, bound, 1).toLongArray()[0];
    }
  }
}
