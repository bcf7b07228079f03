package org.perflow.flow.sampler;

import java.util.Arrays;
import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Tensor;

/**
 * Multistep consistency sampling (Luo et al. 2023, arXiv 2310.04378, algorithm 3): predict the
 * data, add fresh noise of the next level, N times; the last prediction is the result. Timesteps
 * are a subset of the {@code original_inference_steps} that the model was distilled on.
 */
final class LcmScheduler implements Scheduler {
  private static final double SIGMA_DATA = 0.5;

  private final NoiseSchedule schedule;
  private final PredictionType prediction;
  private final double[] timesteps;
  private final DataBound bound;
  private final double scaling;

  LcmScheduler(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    this.schedule = schedule;
    this.prediction = PredictionType.of(config);
    this.timesteps = timesteps(config, schedule.size(), steps);
    this.bound = DataBound.of(config);
    this.scaling = config.number("timestep_scaling");
  }

  /** Every ⌊i M/N⌋th of the M distillation timesteps k−1, 2k−1, ..., noisiest first. */
  static double[] timesteps(SchedulerConfig config, int size, int steps) {
    int original = config.integer("original_inference_steps");
    if (original < 1 || original > size || steps < 1 || steps > original) {
      throw new IllegalArgumentException(
          String.format(
              "got %d steps and original_inference_steps %d; want 1 to original_inference_steps of"
                  + " the first, up to %d of the second",
              steps, original, size));
    }
    int stride = size / original;
    double[] timesteps = new double[steps];
    for (int i = 0; i < steps; i++) {
      int skipped = (int) (i * ((double) original / steps));
      timesteps[i] = (original - skipped) * stride - 1;
    }
    return timesteps;
  }

  @Override
  public double[] timesteps() {
    return timesteps.clone();
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor z, NoiseSource source) {
    int from = (int) timesteps[index];
    Tensor data = bound.data(prediction, schedule.alpha(from), schedule.sigma(from), z, output);
    // The boundary condition of Song et al. 2023 (arXiv 2303.01469), eq. 5.
    double scaled = from * scaling;
    double norm = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
    Tensor denoised =
        new Affine(scaled / Math.sqrt(norm), SIGMA_DATA * SIGMA_DATA / norm).apply(data, z);
    if (index == timesteps.length - 1) {
      return denoised;
    }
    int to = (int) timesteps[index + 1];
    return schedule.noised(to).apply(denoised, source.like(z));
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    return schedule.noised((int) timesteps[index]).apply(z0, noise);
  }

  @Override
  public String toString() {
    return "lcm " + prediction.key() + " " + Arrays.toString(timesteps);
  }
}
