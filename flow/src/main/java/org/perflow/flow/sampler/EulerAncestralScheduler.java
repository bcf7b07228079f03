package org.perflow.flow.sampler;

import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Tensor;

/**
 * Euler's method with part of each step's noise thrown away and drawn anew, so that the marginals
 * stay right: diffusers' EulerAncestralDiscreteScheduler, k-diffusion's {@code
 * sample_euler_ancestral}. The same law as DDIM at eta 1.
 */
final class EulerAncestralScheduler implements Scheduler {
  private final PredictionType prediction;
  private final Sigmas sigmas;
  private final double initial;

  EulerAncestralScheduler(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    this.prediction = PredictionType.of(config);
    if (prediction == PredictionType.SAMPLE) {
      throw new IllegalArgumentException(
          "EulerAncestralDiscreteScheduler has no prediction_type sample; use ddim with eta 1");
    }
    this.sigmas = Sigmas.ofPoints(config, schedule, steps);
    sigmas.requireFalling();
    this.initial = EulerScheduler.initial(config, sigmas);
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
    double from = sigmas.sigma(index);
    double to = sigmas.sigma(index + 1);
    double up = Math.sqrt(to * to * (from * from - to * to) / (from * from));
    double down = Math.sqrt(to * to - up * up);
    Tensor next = EulerScheduler.euler(prediction, from, down).apply(y, output);
    return next.add(source.like(y).mul(up)); // drawn on the last step too, where up is 0
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    return new Affine(1, sigmas.sigma(index)).apply(z0, noise);
  }
}
