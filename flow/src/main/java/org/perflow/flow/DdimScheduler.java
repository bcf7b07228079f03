package org.perflow.flow;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalDouble;
import org.perflow.tensor.Tensor;

/**
 * Deterministic DDIM (Song et al. 2021, arXiv 2010.02502) with the timesteps and the arithmetic of
 * diffusers' DDIMScheduler at eta 0: each step goes down by ⌊T/N⌋ whatever the spacing of the grid,
 * and below index 0 lies the final level.
 */
public final class DdimScheduler implements Scheduler {
  private final NoiseSchedule schedule;
  private final PredictionType prediction;
  private final long[] timesteps;
  private final OptionalDouble clip;

  private DdimScheduler(
      NoiseSchedule schedule, PredictionType prediction, long[] timesteps, OptionalDouble clip) {
    this.schedule = schedule;
    this.prediction = prediction;
    this.timesteps = timesteps;
    this.clip = clip;
  }

  /**
   * {@code steps} steps with the usual grid of Stable Diffusion: leading, offset 1, no clipping.
   */
  public static DdimScheduler stableDiffusion(
      NoiseSchedule schedule, PredictionType prediction, int steps) {
    long[] timesteps = timesteps("leading", schedule.size(), steps, 1);
    return new DdimScheduler(schedule, prediction, timesteps, OptionalDouble.empty());
  }

  /**
   * As a diffusers {@code scheduler_config.json} says; missing keys take diffusers' defaults
   * ({@code clip_sample} true, {@code timestep_spacing} leading, {@code steps_offset} 0).
   *
   * @throws IllegalArgumentException on more steps than noise levels, unknown names, or dynamic
   *     thresholding, which is meant for pixels
   */
  public static DdimScheduler of(JsonNode config, int steps) {
    if (config.path("thresholding").asBoolean(false)) {
      throw new IllegalArgumentException(
          "thresholding is for pixel models; set it to false in the scheduler config");
    }
    NoiseSchedule schedule = NoiseSchedule.of(config);
    PredictionType prediction =
        PredictionType.parse(config.path("prediction_type").asText("epsilon"));
    String spacing = config.path("timestep_spacing").asText("leading");
    int offset = config.path("steps_offset").asInt(0);
    long[] timesteps = timesteps(spacing, schedule.size(), steps, offset);
    if (prediction == PredictionType.EPSILON && schedule.alphaBar((int) timesteps[0]) == 0) {
      throw new IllegalArgumentException(
          "with rescale_betas_zero_snr the first timestep "
              + timesteps[0]
              + " is pure noise, from which epsilon says nothing about the data; use a"
              + " v_prediction model or timestep_spacing leading");
    }
    boolean clips = config.path("clip_sample").asBoolean(true);
    double range = config.path("clip_sample_range").asDouble(1);
    return new DdimScheduler(
        schedule, prediction, timesteps, clips ? OptionalDouble.of(range) : OptionalDouble.empty());
  }

  private static long[] timesteps(String spacing, int size, int steps, int offset) {
    if (steps < 1 || steps > size) {
      throw new IllegalArgumentException(
          "got " + steps + " DDIM steps; want 1 to " + size + ", the noise levels of the model");
    }
    long[] timesteps = new long[steps];
    for (int i = 0; i < steps; i++) {
      int ascending = steps - 1 - i;
      timesteps[i] =
          switch (spacing) {
            case "leading" -> (long) ascending * (size / steps) + offset;
            case "trailing" -> (long) Math.rint(size - i * ((double) size / steps)) - 1;
            case "linspace" ->
                steps == 1 ? 0 : (long) Math.rint(ascending * ((size - 1.0) / (steps - 1)));
            default ->
                throw new IllegalArgumentException(
                    Suggestions.unknown(
                        "timestep_spacing", spacing, List.of("leading", "trailing", "linspace")));
          };
    }
    if (timesteps[0] >= size) {
      throw new IllegalArgumentException(
          steps
              + " DDIM steps with steps_offset "
              + offset
              + " start at "
              + timesteps[0]
              + ", beyond the last noise level "
              + (size - 1)
              + "; use fewer steps");
    }
    return timesteps;
  }

  @Override
  public double[] timesteps() {
    return Arrays.stream(timesteps).asDoubleStream().toArray();
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor z, NoiseSource source) {
    int from = (int) timesteps[index];
    int to = from - schedule.size() / timesteps.length; // negative: the final level
    if (clip.isEmpty()) {
      return prediction.ddim(schedule, from, to).apply(z, output);
    }
    double alpha = schedule.alpha(from);
    double sigma = schedule.sigma(from);
    double bound = clip.getAsDouble();
    Tensor data = prediction.data(alpha, sigma).apply(z, output).clamp(-bound, bound);
    Tensor noise = prediction.noise(alpha, sigma).apply(z, output);
    return new Affine(schedule.alpha(to), schedule.sigma(to)).apply(data, noise);
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    int at = (int) timesteps[index];
    return new Affine(schedule.alpha(at), schedule.sigma(at)).apply(z0, noise);
  }

  @Override
  public String toString() {
    return "ddim " + prediction.key() + " " + Arrays.toString(timesteps);
  }
}
