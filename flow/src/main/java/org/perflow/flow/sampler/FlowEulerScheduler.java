package org.perflow.flow.sampler;

import org.perflow.flow.Affine;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Tensor;

/**
 * Euler's method for flow matching, z = (1 − σ) z0 + σ ε with a network that predicts ε − z0 (Esser
 * et al. 2024, arXiv 2403.03206), as diffusers' FlowMatchEulerDiscreteScheduler. {@code shift}
 * moves the levels towards noise; as there it also acts on the lowest level of the table before the
 * grid is laid, which is shifted again.
 *
 * <p>{@code timestep_spacing} "trailing", which diffusers' class does not have, lays N levels 1 −
 * i/N instead, of which no step is wasted on the lowest level: what few-step students are trained
 * for (in diffusers: {@code sigmas=np.linspace(1, 1 / N, N)}). {@code ShortcutScheduler} is the
 * same for shortcut models (Frans et al. 2024, arXiv 2410.12557), which are told the length of the
 * step.
 */
final class FlowEulerScheduler implements Scheduler {
  private final Sigmas sigmas;
  private final boolean stochastic;
  private final boolean tellsStep;

  FlowEulerScheduler(SchedulerConfig config, int steps) {
    config.refuse("use_dynamic_shifting", "invert_sigmas", "shift_terminal");
    this.sigmas = Sigmas.ofFlow(config, steps);
    this.stochastic = config.flag("stochastic_sampling");
    this.tellsStep = config.type().equals(SchedulerConfig.SHORTCUT);
  }

  @Override
  public double[] timesteps() {
    return sigmas.timesteps();
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor z, NoiseSource source) {
    double from = sigmas.sigma(index);
    double to = sigmas.sigma(index + 1);
    if (!stochastic) {
      return new Affine(1, to - from).apply(z, output);
    }
    Tensor data = new Affine(1, -from).apply(z, output);
    return new Affine(1 - to, to).apply(data, source.like(z));
  }

  /** d = σ − σ' of a shortcut model. */
  @Override
  public double timestepCond(int index) {
    return tellsStep ? sigmas.sigma(index) - sigmas.sigma(index + 1) : Double.NaN;
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    double sigma = sigmas.sigma(index);
    return new Affine(1 - sigma, sigma).apply(z0, noise);
  }
}
