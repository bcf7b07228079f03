package org.perflow.train;

import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;

/** Pairs of latents and conditions to train on. Results belong to the caller's scope. */
public interface Examples {
  /** How many. */
  int size();

  /** Scaled latents z0 of those examples, float32 [B, C, h, w], sampled anew each time. */
  Tensor latents(long[] examples, Rng rng);

  /** Their conditions, [B, L, D]. */
  Tensor conditions(long[] examples, Rng rng);

  /** The condition of the empty caption, [1, L, D]. */
  Tensor nullCondition();
}
