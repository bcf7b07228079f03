package org.perflow.flow.sampler;

import java.util.Arrays;
import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Tensor;

/**
 * Ancestral sampling of DDPM (Ho et al. 2020, arXiv 2006.11239, algorithm 2) with steps left out,
 * as diffusers' DDPMScheduler does it: the posterior of eq. 7 between two timesteps of the grid,
 * after the last of which lies ᾱ = 1. The variance is β̃ ({@code fixed_small}) or β ({@code
 * fixed_large}); networks that predict it are not supported.
 */
final class DdpmScheduler implements Scheduler {
  private final NoiseSchedule schedule;
  private final PredictionType prediction;
  private final double[] timesteps;
  private final DataBound bound;
  private final boolean large;

  DdpmScheduler(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    String variance = config.text("variance_type");
    SchedulerConfig.oneOf(
        "variance_type", variance, "fixed_small", "fixed_small_log", "fixed_large");
    this.schedule = schedule.withAlphaToOne(true);
    this.prediction = PredictionType.of(config);
    this.timesteps =
        TimestepSpacing.of(config).points(schedule.size(), steps, config.integer("steps_offset"));
    Arrays.setAll(timesteps, i -> Math.rint(timesteps[i]));
    this.bound = DataBound.of(config);
    this.large = variance.equals("fixed_large"); // the log of fixed_small is the same number
  }

  @Override
  public double[] timesteps() {
    return timesteps.clone();
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor z, NoiseSource source) {
    int from = (int) timesteps[index];
    int to = index + 1 < timesteps.length ? (int) timesteps[index + 1] : -1;
    double now = schedule.alphaBar(from);
    double next = schedule.alphaBar(to);
    double alpha = now / next; // of this step alone
    double beta = 1 - alpha;
    Tensor data = bound.data(prediction, schedule.alpha(from), schedule.sigma(from), z, output);
    Tensor mean =
        new Affine(Math.sqrt(next) * beta / (1 - now), Math.sqrt(alpha) * (1 - next) / (1 - now))
            .apply(data, z);
    if (from == 0) {
      return mean;
    }
    double variance = large ? beta : Math.max((1 - next) / (1 - now) * beta, 1e-20);
    return mean.add(source.like(z).mul(Math.sqrt(variance)));
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    return schedule.noised((int) timesteps[index]).apply(z0, noise);
  }
}
