package org.perflow.train;

import java.util.Arrays;
import java.util.List;
import org.perflow.flow.Conditioning;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** Pairs of latents and conditions to train on. Results belong to the caller's scope. */
public interface Examples {
  /** How many. */
  int size();

  /**
   * Examples that may stand in one batch, since their latents have one size, by group; one that is
   * to be seen more often stands there as often.
   */
  default List<long[]> groups() {
    return List.of(DataOrder.range(size()));
  }

  /** Where latents and conditions are when they are handed out. */
  default Device device() {
    return nullCondition().text().device();
  }

  /**
   * Sizes of one latent, [C, h, w]; looks at an example where nothing better is known.
   *
   * @throws IllegalArgumentException where they are not all of one size
   */
  default long[] shape() {
    if (groups().size() > 1) {
      throw new IllegalArgumentException(
          "the pictures are of %d sizes, and this method, or one of its settings, works with one; import them in one size (PeRFlow with a chordPool of 0 takes several)"
              .formatted(groups().size()));
    }
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(0)) {
      long[] one = latents(new long[] {0}, rng).shape();
      return Arrays.copyOfRange(one, 1, one.length);
    }
  }

  /**
   * Scaled latents z0 of those examples, of one group, float32 [B, C, h, w], sampled anew each
   * time.
   */
  Tensor latents(long[] examples, Rng rng);

  /** What the networks are told of them, B rows. */
  Conditioning conditions(long[] examples, Rng rng);

  /** The same of the empty caption, 1 row. */
  Conditioning nullCondition();
}
