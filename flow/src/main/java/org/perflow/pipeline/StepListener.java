package org.perflow.pipeline;

import org.perflow.tensor.Tensor;

/** Told after every step of a {@link Pipeline}. */
@FunctionalInterface
public interface StepListener {
  /** Wants to know nothing. */
  StepListener NONE = (done, total, latents) -> {};

  /**
   * A step is done.
   *
   * @param done steps done so far, over all batches
   * @param total steps there are in all
   * @param latents of this batch as the network sees them, float32 [B, C, h, w]; a tiny autoencoder
   *     makes previews of them; valid during the call only
   */
  void step(int done, int total, Tensor latents);
}
