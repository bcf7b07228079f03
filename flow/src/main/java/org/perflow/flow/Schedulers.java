package org.perflow.flow;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;

/** Samplers from a model folder's {@code scheduler_config.json}, or by name. */
public final class Schedulers {
  private static final String DDIM = "DDIMScheduler";

  /** The names that {@link #create(String, ObjectNode, int)} knows. */
  public static final List<String> NAMES = List.of("perflow", "ddim");

  private Schedulers() {}

  /**
   * The sampler that {@code config} describes, for {@code steps} steps.
   *
   * @throws IllegalArgumentException on a {@code _class_name} that is not known, or settings that
   *     the sampler refuses
   */
  public static Scheduler create(ObjectNode config, int steps) {
    String type = config.path("_class_name").asText();
    return switch (type) {
      case PerflowScheduler.CLASS_NAME -> PerflowScheduler.of(config, steps);
      case DDIM -> DdimScheduler.of(config, steps);
      default ->
          throw new IllegalArgumentException(
              Suggestions.unknown(
                      "scheduler _class_name", type, List.of(PerflowScheduler.CLASS_NAME, DDIM))
                  + " (or choose a scheduler by name: "
                  + String.join(", ", NAMES)
                  + ")");
    };
  }

  /** The sampler of that name on the noise schedule of {@code base}. */
  public static Scheduler create(String name, ObjectNode base, int steps) {
    return create(config(name, base), steps);
  }

  /**
   * The config of sampler {@code name} for a model whose own config is {@code base}; base itself
   * where it is that sampler's already.
   *
   * <p>An ε-teacher under "perflow" is taken as {@code ddim_eps}, which makes N = K steps exactly
   * its DDIM (and not as {@code diff_eps}, which "epsilon" means in a PeRFlow config); a {@code
   * ddim_eps} student under "ddim" is an ε-model. Other pairs do not fit and are refused.
   */
  public static ObjectNode config(String name, ObjectNode base) {
    return switch (name) {
      case "perflow" -> perflow(base);
      case "ddim" -> ddim(base);
      default -> throw new IllegalArgumentException(Suggestions.unknown("scheduler", name, NAMES));
    };
  }

  private static ObjectNode perflow(ObjectNode base) {
    if (isPerflow(base)) {
      return base;
    }
    PredictionType type = PredictionType.parse(base.path("prediction_type").asText("epsilon"));
    if (type != PredictionType.EPSILON) {
      throw new IllegalArgumentException(
          "the perflow scheduler needs a PeRFlow model or an epsilon model; this one predicts "
              + type.key());
    }
    return PerflowScheduler.config(
        base, new TimeWindows(4), Parameterization.DDIM_EPS, NoiseSchedule.setAlphaToOne(base));
  }

  private static ObjectNode ddim(ObjectNode base) {
    if (base.path("_class_name").asText().equals(DDIM)) {
      return base;
    }
    ObjectNode config = base.deepCopy();
    config.put("_class_name", DDIM);
    config.put("set_alpha_to_one", NoiseSchedule.setAlphaToOne(base));
    if (!config.has("clip_sample")) {
      config.put("clip_sample", false); // diffusers' default clips, which is for pixels
    }
    if (isPerflow(base)) {
      PiecewiseFlow flow = PerflowScheduler.flow(base);
      if (flow.parameterization() != Parameterization.DDIM_EPS) {
        throw new IllegalArgumentException(
            "the ddim scheduler needs an epsilon model; this PeRFlow model predicts "
                + flow.parameterization().key()
                + ": use the perflow scheduler");
      }
      ObjectNode noise =
          PerflowScheduler.config(base, flow.windows(), flow.parameterization(), false);
      for (String key : List.of("beta_start", "beta_end", "beta_schedule")) {
        config.set(key, noise.get(key)); // the defaults of the two classes differ
      }
      config.put("prediction_type", PredictionType.EPSILON.key());
      config.put("timestep_spacing", "trailing"); // starts at pure noise, as its windows do
    }
    return config;
  }

  static boolean isPerflow(JsonNode config) {
    return config.path("_class_name").asText().equals(PerflowScheduler.CLASS_NAME);
  }

  static ObjectNode emptyConfig() {
    return JsonNodeFactory.instance.objectNode();
  }
}
