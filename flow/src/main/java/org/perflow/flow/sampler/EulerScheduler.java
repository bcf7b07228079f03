package org.perflow.flow.sampler;

import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Tensor;

/**
 * The Euler method on dy/dσ = (y − x0)/σ, y = z0 + σ ε (Karras et al. 2022, arXiv 2206.00364,
 * algorithm 2 without its churn and correction), as diffusers' EulerDiscreteScheduler. The same
 * steps as DDIM, with fractional timesteps where the spacing asks for them.
 */
final class EulerScheduler implements Scheduler {
  private final PredictionType prediction;
  private final Sigmas sigmas;
  private final double initial;

  EulerScheduler(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    SchedulerConfig.oneOf("timestep_type", config.text("timestep_type"), "discrete");
    this.prediction = PredictionType.of(config);
    this.sigmas = Sigmas.ofPoints(config, schedule, steps);
    this.initial = initial(config, sigmas);
  }

  /** Leading grids do not start at pure noise, whose variance the data adds to. */
  static double initial(SchedulerConfig config, Sigmas sigmas) {
    double max = sigmas.max();
    return TimestepSpacing.of(config) == TimestepSpacing.LEADING ? Math.sqrt(max * max + 1) : max;
  }

  @Override
  public double[] timesteps() {
    return sigmas.timesteps();
  }

  @Override
  public double initNoiseSigma() {
    return initial;
  }

  @Override
  public Tensor scaleModelInput(Tensor y, int index) {
    return y.mul(sigmas.alpha(index));
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor y, NoiseSource source) {
    return euler(prediction, sigmas.sigma(index), sigmas.sigma(index + 1)).apply(y, output);
  }

  /** y + (y − x0)/σ · (to − σ) as a·y + b·output. */
  static Affine euler(PredictionType prediction, double from, double to) {
    Affine data = prediction.dataAtSigma(from);
    double relative = (to - from) / from;
    return new Affine(1 + relative * (1 - data.a()), -relative * data.b());
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    return new Affine(1, sigmas.sigma(index)).apply(z0, noise);
  }
}
