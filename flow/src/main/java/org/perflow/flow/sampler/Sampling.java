package org.perflow.flow.sampler;

import java.util.ArrayList;
import java.util.List;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.Guidance;
import org.perflow.flow.Network;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * The sampling loop: from noise, or from data with some noise, to data. Pictures, what evaluation
 * measures and a teacher's pairs are all drawn by it. Owns nothing; gradients are recorded as the
 * calling thread says.
 *
 * @param scheduler when the network is asked, and what its answers do
 * @param network what is asked at each step
 * @param told of the prompts, B rows
 * @param empty of the negative or empty prompts, as many rows or one for all; null where nothing is
 *     guided
 * @param guidance its scales over the steps
 * @param rescale how far the spread of guided answers is taken back, 0 (not at all) to 1
 */
public record Sampling(
    Scheduler scheduler,
    IntFunction<Network> network,
    Conditioning told,
    @Nullable Conditioning empty,
    Guidance guidance,
    double rescale) {

  /** One network at all steps, under one scale. */
  public Sampling(
      Scheduler scheduler,
      Network network,
      Conditioning told,
      @Nullable Conditioning empty,
      double guidance) {
    this(scheduler, index -> network, told, empty, Guidance.of(guidance), 0);
  }

  /** What becomes of the state after a step. */
  @FunctionalInterface
  public interface After {
    /**
     * Called in the scope of the step.
     *
     * @param index of the step that was done
     * @param z the state after it, [B, C, h, w]
     * @return z, or what takes its place
     */
    Tensor step(int index, Tensor z);
  }

  /**
   * From pure noise through all steps.
   *
   * @param noise standard normal, [B, C, h, w]
   * @param later asked by stochastic samplers only
   * @return the states, as {@link #run} does
   */
  public List<Tensor> fromNoise(Tensor noise, Scheduler.NoiseSource later) {
    return run(noise.mul(scheduler.initNoiseSigma()), 0, later, (index, z) -> z);
  }

  /**
   * From the state {@code z} before step {@code first} through the steps that are left.
   *
   * @return z itself, then the state after each step, [B, C, h, w] each, owned by the caller's
   *     scope
   */
  public List<Tensor> run(Tensor z, int first, Scheduler.NoiseSource later, After after) {
    double[] timesteps = scheduler.timesteps();
    List<Tensor> states = new ArrayList<>(List.of(z));
    for (int i = first; i < timesteps.length; i++) {
      try (Scope step = Scope.open()) {
        Tensor seen = scheduler.scaleModelInput(z, i);
        Tensor output = at(i, timesteps.length).predict(seen, Tensor.full(timesteps[i], z.size(0)));
        z = step.keep(after.step(i, scheduler.step(output, i, z, later)));
      }
      states.add(z);
    }
    return states;
  }

  /**
   * The network at step {@code index}. One that embeds a number beside time is told what the
   * sampler says of the step; where that says nothing, the number is scale − 1, which takes the
   * place of guidance and of its second pass (Luo et al. 2023, arXiv 2310.04378, section 4.2).
   */
  private Denoiser at(int index, int steps) {
    Network asked = network.apply(index);
    double scale = guidance.at(index, steps);
    Conditioning here = told;
    if (asked.takesNumber()) {
      double number = scheduler.timestepCond(index);
      boolean tellsScale = Double.isNaN(number);
      here = told.withTimestepCond(Tensor.full(tellsScale ? scale - 1 : number, rows()));
      if (tellsScale) {
        return asked.given(here);
      }
    }
    return empty == null ? asked.given(here) : asked.guided(here, empty, scale, rescale);
  }

  private long rows() {
    return told.text().size(0);
  }

  /**
   * Network evaluations of one picture from step {@code first} on: two where a step is guided, but
   * one where the network is told its guidance.
   *
   * @param takesNumber whether the network embeds a number beside time
   */
  public static int evaluations(
      Scheduler scheduler, Guidance guidance, boolean takesNumber, int first) {
    int steps = scheduler.timesteps().length;
    int evaluations = 0;
    for (int i = first; i < steps; i++) {
      boolean tellsScale = takesNumber && Double.isNaN(scheduler.timestepCond(i));
      evaluations += guidance.at(i, steps) > 1 && !tellsScale ? 2 : 1;
    }
    return evaluations;
  }
}
