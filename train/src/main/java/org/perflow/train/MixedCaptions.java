package org.perflow.train;

import java.util.ArrayList;
import java.util.List;
import org.perflow.models.CLIPTextModel;
import org.perflow.models.CLIPTokenizer;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Captions that nobody wrote, put together from pieces of those that somebody did. A student that
 * sees its data's captions only is near its teacher on these, and strays on others; simulated
 * window starts need no pictures, so it may be asked for anything. Text encoder and tokenizer stay
 * the caller's. Not in the paper.
 */
final class MixedCaptions {
  private static final double SWAPPED = 0.5;

  private final CLIPTokenizer tokenizer;
  private final CLIPTextModel text;
  private final DType type;
  private final List<List<String>> captions = new ArrayList<>();

  /**
   * Takes captions apart at their commas, or between words where they have none.
   *
   * @param type element type of the text states
   */
  MixedCaptions(CLIPTokenizer tokenizer, CLIPTextModel text, DType type, List<String> captions) {
    this.tokenizer = tokenizer;
    this.text = text;
    this.type = type;
    for (String caption : captions) {
      this.captions.add(List.of(caption.strip().split(caption.contains(",") ? ",\\s*" : "\\s+")));
    }
  }

  /** Text states of {@code rows} captions, [rows, L, D], in the caller's scope. */
  Tensor draw(int rows, Rng rng) {
    int length = tokenizer.length();
    long[] ids = new long[rows * length];
    for (int i = 0; i < rows; i++) {
      System.arraycopy(tokenizer.encode(compose(rng)), 0, ids, i * length, length);
    }
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return scope.keep(text.forward(Tensor.of(ids, rows, length)).lastHiddenState().to(type));
    }
  }

  /** One caption's frame: half of its pieces come from others, and it stands in any wording. */
  String compose(Rng rng) {
    List<String> frame = captions.get(below(captions.size(), rng));
    List<String> pieces = new ArrayList<>();
    for (int i = 0; i < frame.size(); i++) {
      pieces.add(swapped(rng) ? piece(i, rng) : frame.get(i));
    }
    String separator = frame.stream().anyMatch(piece -> piece.contains(" ")) ? ", " : " ";
    List<String> wordings = Captions.variants(String.join(separator, pieces));
    return wordings.get(below(wordings.size(), rng));
  }

  /** A piece of any caption: of its beginning for a beginning, else of what follows. */
  private String piece(int place, Rng rng) {
    List<String> other = captions.get(below(captions.size(), rng));
    return other.get(place == 0 || other.size() == 1 ? 0 : 1 + below(other.size() - 1, rng));
  }

  private static boolean swapped(Rng rng) {
    try (Scope scope = Scope.open()) {
      return Tensor.rand(rng, 1).item() < SWAPPED;
    }
  }

  private static int below(int bound, Rng rng) {
    try (Scope scope = Scope.open()) {
      return (int) Tensor.randint(rng, bound, 1).toLongArray()[0];
    }
  }
}
