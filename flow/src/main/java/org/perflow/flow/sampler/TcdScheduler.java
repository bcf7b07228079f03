package org.perflow.flow.sampler;

import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Tensor;

/**
 * Strategic stochastic sampling of trajectory consistency distillation (Zheng et al. 2024, arXiv
 * 2402.19159, algorithm 4): jump past the next timestep to (1 − eta) of it, then add noise back up
 * to it. {@code eta} 0 is deterministic, 1 is LCM; 0.3 is diffusers' default of the scheduler (its
 * pipelines pass 0 unless told). As there, {@code clip_sample} and {@code thresholding} do nothing.
 */
final class TcdScheduler implements Scheduler {
  private final NoiseSchedule schedule;
  private final PredictionType prediction;
  private final double[] timesteps;
  private final double eta;

  TcdScheduler(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    this.schedule = schedule;
    this.prediction = PredictionType.of(config);
    this.timesteps = LcmScheduler.timesteps(config, schedule.size(), steps);
    this.eta = config.eta();
  }

  @Override
  public double[] timesteps() {
    return timesteps.clone();
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor z, NoiseSource source) {
    boolean last = index == timesteps.length - 1;
    int to = last ? 0 : (int) timesteps[index + 1];
    int past = (int) ((float) (1 - eta) * to); // a float32 product, as PyTorch's
    Tensor jumped = prediction.ddim(schedule, (int) timesteps[index], past).apply(z, output);
    if (eta == 0 || last) {
      return jumped;
    }
    double kept = schedule.alphaBar(to) / schedule.alphaBar(past);
    return new Affine(Math.sqrt(kept), Math.sqrt(1 - kept)).apply(jumped, source.like(z));
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    return schedule.noised((int) timesteps[index]).apply(z0, noise);
  }
}
