package org.perflow.train;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Captions that nobody wrote, put together from pieces of those that somebody did and from words of
 * the tokenizer's, many of which the data never uses. A student that sees its data's captions only
 * is near its teacher on these, and strays on others; simulated window starts need no pictures, so
 * it may be asked for anything. Not in the paper.
 */
final class MixedCaptions {
  private static final double SWAPPED = 0.5;
  private static final double OTHER_WORDS = 0.25; // of the swapped pieces

  private final List<String> captions;
  private final List<String> words;

  /**
   * @param words that may stand in a piece's place; none = pieces of captions only
   */
  MixedCaptions(List<String> captions, List<String> words) {
    this.captions = List.copyOf(captions);
    this.words = List.copyOf(words);
  }

  /** That many captions. */
  List<String> draw(int count, Rng rng) {
    return Stream.generate(() -> compose(rng)).limit(count).toList();
  }

  /** One caption's frame: half of its pieces come from elsewhere, and it stands in any wording. */
  String compose(Rng rng) {
    String frame = captions.get(below(captions.size(), rng));
    List<String> pieces = pieces(frame);
    for (int i = 0; i < pieces.size(); i++) {
      if (happens(SWAPPED, rng)) {
        boolean word = !words.isEmpty() && happens(OTHER_WORDS, rng);
        pieces.set(i, word ? words.get(below(words.size(), rng)) : piece(i, rng));
      }
    }
    List<String> wordings =
        Captions.variants(String.join(frame.contains(",") ? ", " : " ", pieces));
    return wordings.get(below(wordings.size(), rng));
  }

  /** Those that others are made of. */
  List<String> captions() {
    return captions;
  }

  /** What stands between commas, or words where there are none. */
  private static List<String> pieces(String caption) {
    return new ArrayList<>(
        List.of(caption.strip().split(caption.contains(",") ? ",\\s*" : "\\s+")));
  }

  /** A piece of any caption: of its beginning for a beginning, else of what follows. */
  private String piece(int place, Rng rng) {
    List<String> other = pieces(captions.get(below(captions.size(), rng)));
    return other.get(place == 0 || other.size() == 1 ? 0 : 1 + below(other.size() - 1, rng));
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
