package org.perflow.flow.sampler;

import org.perflow.tensor.Tensor;

/**
 * A sampler for a fixed number of steps: which times the network is asked at, and what to do with
 * its answers. Numerics are diffusers'; coefficients are worked out on the host in double, the
 * state is float32.
 *
 * <p>One a sampling run: a scheduler may remember earlier answers, which native memory it owns
 * until {@link #close}. Step 0 forgets them, so that one scheduler may serve run after run, but not
 * two at a time. {@link Sampling} is the loop around it. Not thread-safe.
 */
public interface Scheduler extends AutoCloseable {
  /** Timesteps to give the network, in order, each 0 ... 1000; they may be fractional. */
  double[] timesteps();

  /**
   * What the network is given for {@code z} at step {@code index}: z itself but for samplers whose
   * state is z0 + σ ε, which divide by √(σ² + 1).
   *
   * @return z, or a tensor owned by the caller's scope
   */
  default Tensor scaleModelInput(Tensor z, int index) {
    return z;
  }

  /**
   * The state after step {@code index}.
   *
   * @param output what the network said at {@code timesteps()[index]}, [B, C, h, w]
   * @param index 0 ... timesteps().length − 1, one after the other
   * @param z the state before, [B, C, h, w]
   * @param noise asked by stochastic samplers only, at most once a step
   * @return owned by the caller's scope
   */
  Tensor step(Tensor output, int index, Tensor z, NoiseSource noise);

  /** Where samplers that add noise take it from. */
  @FunctionalInterface
  interface NoiseSource {
    /**
     * Fresh standard normal noise, each picture's from its own generator, in order of use.
     *
     * @return float32 of z's shape, owned by the caller's scope
     */
    Tensor like(Tensor z);
  }

  /** Standard deviation of the noise to start from. */
  default double initNoiseSigma() {
    return 1;
  }

  /**
   * The number that a network which embeds one beside time is told at step {@code index}, such as
   * the length of the step; NaN where that is its guidance.
   */
  default double timestepCond(int index) {
    return Double.NaN;
  }

  /**
   * Data with noise: the state that sampling would have before step {@code index}. Image-to-image
   * starts there.
   *
   * @param z0 data, [B, C, h, w]
   * @param noise standard normal, [B, C, h, w]
   * @return owned by the caller's scope
   */
  Tensor addNoise(Tensor z0, Tensor noise, int index);

  /**
   * How many of {@link #timesteps} make one step of the method: 2 for Heun. Image-to-image starts
   * at a multiple of it.
   */
  default int timestepsPerStep() {
    return 1;
  }

  /** Frees what the sampler remembers. It may still be used for another run. */
  @Override
  default void close() {}
}
