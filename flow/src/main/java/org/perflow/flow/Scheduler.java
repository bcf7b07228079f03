package org.perflow.flow;

import org.perflow.tensor.Tensor;

/**
 * A sampler for a fixed number of steps: which times the network is asked at, and what to do with
 * its answers. Holds no state between steps and no native memory; thread-safe. Arithmetic is
 * float32 for float32 latents, which {@link TextToImage} always keeps.
 */
public interface Scheduler {
  /** Timesteps to give the network, in order, each 0 ... 1000. */
  long[] timesteps();

  /**
   * The state after step {@code index}.
   *
   * @param output what the network said at {@code timesteps()[index]}, [B, C, h, w]
   * @param index 0 ... timesteps().length − 1
   * @param z the state before, [B, C, h, w]
   * @return owned by the caller's scope
   */
  Tensor step(Tensor output, int index, Tensor z);

  /** Standard deviation of the noise to start from. */
  default double initNoiseSigma() {
    return 1;
  }
}
