package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.Suggestions;

/**
 * A {@code scheduler_config.json} with the gaps filled: every option that diffusers' class of that
 * name has, with the file's value or the class's default ({@code schedulers.json} beside this
 * class). Options of other classes, which real files are full of, are not in it, as diffusers
 * ignores them too. Immutable.
 */
public final class SchedulerConfig {
  /** Class defaults, and the samplers that can be asked for by name. */
  private static final JsonNode KNOWN = readKnown();

  /** Samplers that can be asked for by name. */
  public static final List<String> NAMES = keys(KNOWN.get("names"));

  /** Every {@code _class_name} that is known. */
  public static final List<String> CLASSES = keys(KNOWN.get("classes"));

  /** The class that a config without {@code _class_name} is read as. */
  public static final String DDIM = "DDIMScheduler";

  /** PeRFlow's own; diffusers has none of that name. */
  public static final String PERFLOW = "PeRFlowScheduler";

  /** Euler of flow-matching models. */
  public static final String FLOW_MATCHING = "FlowMatchEulerDiscreteScheduler";

  /** Euler of shortcut models; diffusers has none of that name. */
  public static final String SHORTCUT = "ShortcutScheduler";

  /** Key of a config that says in how many steps its model is to draw, as students' do. */
  public static final String STEPS = "recommended_num_inference_steps";

  /** Key of the guidance that a model was made for. */
  public static final String GUIDANCE = "recommended_guidance_scale";

  /** Key of the teacher's guidance that is in a student's weights, to compare the two by. */
  public static final String TAUGHT_GUIDANCE = "teacher_guidance_scale";

  private static final List<String> OWN = List.of(STEPS, GUIDANCE, TAUGHT_GUIDANCE);
  private static final int MOST_BETAS = 100_000;
  private static final String ZERO_SNR = "rescale_betas_zero_snr";

  private final String type;
  private final ObjectNode values;
  private final boolean zeroSnr;

  private SchedulerConfig(String type, ObjectNode values, boolean zeroSnr) {
    this.type = type;
    this.values = values;
    this.zeroSnr = zeroSnr;
  }

  /** Of a class that is not known, the options of DDIMScheduler: its noise schedule can be read. */
  public static SchedulerConfig of(JsonNode raw) {
    String type = raw.path("_class_name").asText(DDIM);
    JsonNode classes = KNOWN.get("classes");
    ObjectNode values = classes.path(classes.has(type) ? type : DDIM).deepCopy();
    if (!classes.has(type)) {
      values.put("set_alpha_to_one", false);
    }
    keys(values).stream().filter(raw::hasNonNull).forEach(key -> values.set(key, raw.get(key)));
    return new SchedulerConfig(type, values, raw.path(ZERO_SNR).asBoolean(false));
  }

  /**
   * {@code raw}, when every option of its class has the type that it should and a value in its
   * range.
   *
   * @param source where it stands, for messages
   * @throws FormatException naming source, key and value
   */
  public static ObjectNode checked(Object source, ObjectNode raw) throws FormatException {
    try {
      SchedulerConfig config = of(raw);
      JsonNode defaults = KNOWN.get("classes").path(config.type);
      for (String key : keys(config.values)) {
        config.check(key, defaults.path(key));
      }
      for (String key : OWN) {
        if (raw.hasNonNull(key)) {
          ConfigRanges.number(key, raw.get(key));
        }
      }
      if (config.has("beta_start") && config.number("beta_start") > config.number("beta_end")) {
        throw new IllegalArgumentException(
            "beta_start: got %s, expected at most beta_end, which is %s"
                .formatted(config.number("beta_start"), config.number("beta_end")));
      }
      return raw;
    } catch (IllegalArgumentException e) {
      throw new FormatException(source + ": " + e.getMessage(), e);
    }
  }

  private void check(String key, JsonNode byDefault) {
    if (!has(key)) {
      return;
    }
    if (key.equals("trained_betas")) {
      int count = numbers(key).length;
      value(key, count > 0 && count <= MOST_BETAS, "1 to " + MOST_BETAS + " numbers");
    } else if (byDefault.isBoolean()) {
      flag(key);
    } else if (byDefault.isTextual()) {
      text(key);
    } else if (byDefault.isArray()) {
      numbers(key);
    } else if (byDefault.isIntegralNumber()) {
      integer(key);
    } else if (ConfigRanges.knows(key)) {
      number(key);
    }
  }

  private static List<String> keys(JsonNode object) {
    List<String> keys = new ArrayList<>();
    object.fieldNames().forEachRemaining(keys::add);
    return List.copyOf(keys);
  }

  /**
   * What the sampler of that name, one of {@link #NAMES}, says of its config: class and options.
   *
   * @throws IllegalArgumentException where none has that name
   */
  public static ObjectNode named(String name) {
    if (!(KNOWN.get("names").path(name) instanceof ObjectNode wanted)) {
      throw new IllegalArgumentException(Suggestions.unknown("scheduler", name, NAMES));
    }
    return wanted.deepCopy();
  }

  /** Whether a scheduler config is a PeRFlow model's. */
  public static boolean isPerflow(JsonNode config) {
    return config.path("_class_name").asText().equals(PERFLOW);
  }

  /** Whether a scheduler config is that of a few-step student, of any method. */
  public static boolean isStudents(JsonNode config) {
    return isPerflow(config) || config.has(STEPS);
  }

  /** Time windows of a PeRFlow model; 4, PeRFlow's usual number, where a config says none. */
  public static int windows(JsonNode config) {
    return config.path("num_time_windows").asInt(4);
  }

  /**
   * The class that {@code model_index.json} names for a scheduler config. Diffusers refuses a
   * folder that names a class which it has not, so students of our own samplers name the nearest
   * one; the official PeRFlowScheduler takes its config from there, and DDIM says that it cannot
   * sample ddim_eps.
   */
  public static String classInIndex(JsonNode config) {
    String type = config.path("_class_name").asText(DDIM);
    return switch (type) {
      case PERFLOW -> DDIM;
      case SHORTCUT -> FLOW_MATCHING;
      default -> type;
    };
  }

  private static JsonNode readKnown() {
    try (InputStream in = SchedulerConfig.class.getResourceAsStream("schedulers.json")) {
      return Json.MAPPER.readTree(in);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** {@code _class_name}. */
  public String type() {
    return type;
  }

  /** Whether this class has that option and a value for it. */
  public boolean has(String key) {
    return values.hasNonNull(key);
  }

  /** An option on or off; off where the class does not have it. */
  public boolean flag(String key) {
    return has(key) && value(key, values.path(key).isBoolean(), "true or false").asBoolean();
  }

  public int integer(String key) {
    return ConfigRanges.integer(key, values.path(key));
  }

  public double number(String key) {
    return ConfigRanges.number(key, values.path(key));
  }

  public String text(String key) {
    return value(key, values.path(key).isTextual(), "a name").asText();
  }

  /** An array of numbers. */
  public double[] numbers(String key) {
    JsonNode array = value(key, values.path(key).isArray(), "an array of numbers");
    double[] numbers = new double[array.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = ConfigRanges.number(key, array.get(i));
    }
    return numbers;
  }

  private JsonNode value(String key, boolean fits, String wanted) {
    if (!fits) {
      throw new IllegalArgumentException(
          "'"
              + key
              + "' of "
              + type
              + " is "
              + ConfigRanges.shown(values.path(key))
              + "; want "
              + wanted);
    }
    return values.get(key);
  }

  /**
   * Options that diffusers has and this library does not: an error where they are in use (neither
   * absent nor null nor false nor empty).
   */
  public void refuse(String... keys) {
    for (String key : keys) {
      JsonNode value = values.path(key);
      boolean unused =
          value.isMissingNode()
              || value.isNull()
              || (value.isBoolean() && !value.asBoolean())
              || (value.isArray() && value.isEmpty());
      if (!unused) {
        throw new IllegalArgumentException(
            String.format(
                "%s with %s = %s is not supported; take that option out of the scheduler config or"
                    + " choose another sampler (%s)",
                type, key, value, String.join(", ", NAMES)));
      }
    }
  }

  /** Whether the model was trained down to pure noise, whatever this class makes of it. */
  public boolean zeroSnr() {
    return zeroSnr;
  }

  /** An error where {@link #zeroSnr}, which diffusers' class of this name silently leaves out. */
  public void refuseZeroSnr() {
    if (zeroSnr) {
      throw new IllegalArgumentException(
          type + " does not know " + ZERO_SNR + "; use ddim, euler, unipc or dpmpp-2m");
    }
  }

  /** How much of the noise is drawn anew, 0 (deterministic) to 1. */
  public double eta() {
    double eta = number("eta");
    if (!(eta >= 0 && eta <= 1)) {
      throw new IllegalArgumentException("eta is " + eta + "; want 0 (deterministic) to 1");
    }
    return eta;
  }

  /** An error unless {@code got}, the value of {@code key}, is among {@code known}. */
  public static String oneOf(String key, String got, String... known) {
    if (!List.of(known).contains(got)) {
      throw new IllegalArgumentException(Suggestions.unknown(key, got, List.of(known)));
    }
    return got;
  }
}
