package org.perflow.flow.sampler;

import java.util.Arrays;
import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Tensor;

/**
 * DDIM (Song et al. 2021, arXiv 2010.02502) with the timesteps and the arithmetic of diffusers'
 * DDIMScheduler: each step goes down by ⌊T/N⌋ whatever the spacing of the grid, and below index 0
 * lies the final level. Deterministic at {@code eta} 0, the default; 1 is ancestral sampling.
 */
public final class DdimScheduler implements Scheduler {
  private final NoiseSchedule schedule;
  private final PredictionType prediction;
  private final double[] timesteps;
  private final DataBound bound;
  private final double eta;

  /** As {@code config} says. */
  DdimScheduler(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    this.schedule = schedule;
    this.prediction = PredictionType.of(config);
    this.timesteps =
        TimestepSpacing.of(config).points(schedule.size(), steps, config.integer("steps_offset"));
    Arrays.setAll(timesteps, i -> Math.rint(timesteps[i]));
    this.bound = DataBound.of(config);
    this.eta = config.eta();
  }

  @Override
  public double[] timesteps() {
    return timesteps.clone();
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor z, NoiseSource source) {
    int from = (int) timesteps[index];
    int to = from - schedule.size() / timesteps.length; // negative: the final level
    if (eta == 0 && bound.isNone()) {
      return prediction.ddim(schedule, from, to).apply(z, output);
    }
    double alpha = schedule.alpha(from);
    double sigma = schedule.sigma(from);
    Tensor data = bound.data(prediction, alpha, sigma, z, output);
    Tensor noise = prediction.noise(alpha, sigma).apply(z, output);
    double deviation = eta * Math.sqrt(variance(from, to)); // eq. 16
    double kept = 1 - schedule.alphaBar(to) - deviation * deviation; // 0 at most by rounding
    double direction = Math.sqrt(Math.max(kept, 0));
    Tensor next = new Affine(schedule.alpha(to), direction).apply(data, noise);
    return eta == 0 ? next : next.add(source.like(z).mul(deviation));
  }

  private double variance(int from, int to) {
    double now = schedule.alphaBar(from);
    double next = schedule.alphaBar(to);
    return (1 - next) / (1 - now) * (1 - now / next);
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    return schedule.noised((int) timesteps[index]).apply(z0, noise);
  }

  @Override
  public String toString() {
    return "ddim " + prediction.key() + " " + Arrays.toString(timesteps);
  }
}
