package org.perflow.train;

import java.util.Arrays;
import org.perflow.flow.Conditioning;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** Pairs of latents and conditions to train on. Results belong to the caller's scope. */
public interface Examples {
  /** How many. */
  int size();

  /** Sizes of one latent, [C, h, w]; looks at an example where nothing better is known. */
  default long[] shape() {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(0)) {
      long[] one = latents(new long[] {0}, rng).shape();
      return Arrays.copyOfRange(one, 1, one.length);
    }
  }

  /** Scaled latents z0 of those examples, float32 [B, C, h, w], sampled anew each time. */
  Tensor latents(long[] examples, Rng rng);

  /** What the networks are told of them, B rows. */
  Conditioning conditions(long[] examples, Rng rng);

  /** The same of the empty caption, 1 row. */
  Conditioning nullCondition();
}
