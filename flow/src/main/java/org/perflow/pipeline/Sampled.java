package org.perflow.pipeline;

import java.util.List;
import org.perflow.tensor.Tensor;

/**
 * A batch on its way from noise to data.
 *
 * @param states where it started, then the state after each step, float32 [B, C, h, w]
 * @param seconds that the steps took, without text encoder and decoder
 */
public record Sampled(List<Tensor> states, double seconds) {
  public Sampled {
    states = List.copyOf(states);
  }

  /** The last state: scaled latents of the pictures. */
  public Tensor latents() {
    return states.get(states.size() - 1);
  }
}
