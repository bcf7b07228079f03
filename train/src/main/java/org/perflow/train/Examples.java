package org.perflow.train;

import org.perflow.flow.Conditioning;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;

/** Pairs of latents and conditions to train on. Results belong to the caller's scope. */
public interface Examples {
  /** How many. */
  int size();

  /** Scaled latents z0 of those examples, float32 [B, C, h, w], sampled anew each time. */
  Tensor latents(long[] examples, Rng rng);

  /** What the networks are told of them, B rows. */
  Conditioning conditions(long[] examples, Rng rng);

  /** The same of the empty caption, 1 row. */
  Conditioning nullCondition();
}
