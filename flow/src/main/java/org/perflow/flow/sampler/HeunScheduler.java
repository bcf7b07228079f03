package org.perflow.flow.sampler;

import java.util.Arrays;
import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Heun's method on dy/dσ = (y − x0)/σ, y = z0 + σ ε (Karras et al. 2022, arXiv 2206.00364,
 * algorithm 1), as diffusers' HeunDiscreteScheduler: an Euler step, then the slope there, then the
 * step again with the mean of both slopes. The last step, to σ = 0, is Euler's: 2N − 1 evaluations.
 */
final class HeunScheduler implements Scheduler {
  private final PredictionType prediction;
  private final Sigmas sigmas;
  private final double initial;
  private final DataBound bound;
  private final History slope = new History(1);
  private final History base = new History(1);

  HeunScheduler(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    config.refuseZeroSnr();
    this.prediction = PredictionType.of(config);
    this.sigmas = Sigmas.ofPoints(config, schedule, steps);
    this.initial = EulerScheduler.initial(config, sigmas);
    this.bound = DataBound.of(config);
  }

  /** The level that evaluation {@code index} takes place at: 0, 1, 1, 2, 2, ... */
  private static int level(int index) {
    return (index + 1) / 2;
  }

  @Override
  public double[] timesteps() {
    double[] timesteps = new double[2 * sigmas.steps() - 1];
    Arrays.setAll(timesteps, i -> sigmas.timestep(level(i)));
    return timesteps;
  }

  @Override
  public int timestepsPerStep() {
    return 2;
  }

  @Override
  public double initNoiseSigma() {
    return initial;
  }

  @Override
  public Tensor scaleModelInput(Tensor y, int index) {
    return y.mul(sigmas.alpha(level(index)));
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor y, NoiseSource source) {
    try (Scope scope = Scope.open()) {
      int done = slope.begin(index);
      base.begin(index);
      boolean second = index % 2 == 1;
      if (second && done == 0) {
        throw new IllegalArgumentException(
            "Heun's steps start at even indices; got a first step at " + index);
      }
      double sigma = sigmas.sigma(level(index));
      Tensor data = bound.apply(prediction.dataAtSigma(sigma).apply(y, output));
      Tensor here = y.sub(data).div(sigma);
      if (second) {
        double width = sigma - sigmas.sigma(level(index) - 1);
        Tensor mean = new Affine(0.5, 0.5).apply(slope.get(0), here);
        return scope.keep(new Affine(1, width).apply(base.get(0), mean));
      }
      slope.push(scope, here);
      base.push(scope, y.copy());
      double width = sigmas.sigma(level(index) + 1) - sigma;
      Tensor next = new Affine(1, width).apply(y, here);
      if (index == 2 * sigmas.steps() - 2) {
        close();
      }
      return scope.keep(next);
    }
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    return new Affine(1, sigmas.sigma(level(index))).apply(z0, noise);
  }

  @Override
  public void close() {
    slope.close();
    base.close();
  }
}
