package org.perflow.pipeline;

import java.awt.image.BufferedImage;
import org.perflow.tensor.Tensor;

/** Told after every step of a {@link Pipeline}, and of every picture. */
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

  /**
   * A picture is done, in the order of the requests; batches behind it are still to come. What this
   * throws ends the drawing.
   *
   * @param index of its request
   */
  default void drawn(int index, BufferedImage picture) {}
}
