package org.perflow.flow;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.List;
import org.perflow.io.Suggestions;
import org.perflow.models.SchedulerConfig;

/**
 * What a diffusion network predicts at z = α x0 + σ ε (α² + σ² = 1): the noise ε, v = α ε − σ x0
 * (Salimans and Ho 2022, arXiv 2202.00512, section 4), or x0 itself. All are affine in one another.
 */
public enum PredictionType {
  EPSILON("epsilon"),
  V_PREDICTION("v_prediction"),
  SAMPLE("sample");

  private final String key;

  PredictionType(String key) {
    this.key = key;
  }

  /** Its name in diffusers' {@code prediction_type}. */
  public String key() {
    return key;
  }

  /** What a diffusion model's scheduler config says, ε where it says nothing, as in diffusers. */
  public static PredictionType of(JsonNode schedulerConfig) {
    return parse(schedulerConfig.path("prediction_type").asText(EPSILON.key));
  }

  /** What a scheduler config says, or the default of its class. */
  public static PredictionType of(SchedulerConfig config) {
    return parse(config.text("prediction_type"));
  }

  /**
   * The type with that key.
   *
   * @throws IllegalArgumentException naming the known ones
   */
  public static PredictionType parse(String key) {
    for (PredictionType type : values()) {
      if (type.key.equals(key)) {
        return type;
      }
    }
    List<String> known = Arrays.stream(values()).map(PredictionType::key).toList();
    throw new IllegalArgumentException(
        Suggestions.unknown("prediction_type of a diffusion model", key, known));
  }

  /** x0 as a·z + b·output. */
  public Affine data(double alpha, double sigma) {
    return switch (this) {
      case EPSILON -> new Affine(1 / alpha, -sigma / alpha);
      case V_PREDICTION -> new Affine(alpha, -sigma);
      case SAMPLE -> new Affine(0, 1);
    };
  }

  /** ε as a·z + b·output. */
  public Affine noise(double alpha, double sigma) {
    return switch (this) {
      case EPSILON -> new Affine(0, 1);
      case V_PREDICTION -> new Affine(sigma, alpha);
      case SAMPLE -> new Affine(1 / sigma, -alpha / sigma);
    };
  }

  /**
   * Refuses to start where nothing follows about the data from what the network says: from ε at α =
   * 0. Every solver and sampler asks this before its first step.
   *
   * @param level index that the first step starts at
   * @throws IllegalArgumentException saying what would go
   */
  public void requireSignal(NoiseSchedule schedule, int level) {
    if (this == EPSILON && !(schedule.alphaBar(level) > 0)) {
      throw new IllegalArgumentException(
          "with rescale_betas_zero_snr level "
              + level
              + " is pure noise, from which epsilon says nothing about the data: that takes a"
              + " v_prediction model or, in sampling, timestep_spacing leading");
    }
  }

  /** x0 as a·y + b·output at y = x0 + σ ε, where the network was given y/√(σ² + 1). */
  public Affine dataAtSigma(double sigma) {
    double alpha = 1 / Math.sqrt(sigma * sigma + 1);
    Affine data = data(alpha, sigma * alpha);
    return new Affine(data.a() * alpha, data.b());
  }

  /**
   * One deterministic DDIM step (Song et al. 2021, arXiv 2010.02502, eq. 12 with η = 0) from index
   * {@code from} to {@code to} (negative: the final level): the new z as a·z + b·output.
   */
  public Affine ddim(NoiseSchedule schedule, int from, int to) {
    Affine data = data(schedule.alpha(from), schedule.sigma(from));
    Affine noise = noise(schedule.alpha(from), schedule.sigma(from));
    double alpha = schedule.alpha(to);
    double sigma = schedule.sigma(to);
    return new Affine(alpha * data.a() + sigma * noise.a(), alpha * data.b() + sigma * noise.b());
  }
}
