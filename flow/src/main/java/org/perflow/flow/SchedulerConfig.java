package org.perflow.flow;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import org.perflow.io.Json;

/**
 * A {@code scheduler_config.json} with the gaps filled: every option that diffusers' class of that
 * name has, with the file's value or the class's default ({@code schedulers.json} beside this
 * class). Options of other classes, which real files are full of, are not in it, as diffusers
 * ignores them too. Immutable.
 */
final class SchedulerConfig {
  /** Class defaults, and the samplers that can be asked for by name. */
  static final JsonNode KNOWN = readKnown();

  /** The class that a config without {@code _class_name} is read as. */
  static final String DDIM = "DDIMScheduler";

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
  static SchedulerConfig of(JsonNode raw) {
    String type = raw.path("_class_name").asText(DDIM);
    JsonNode classes = KNOWN.get("classes");
    ObjectNode values = classes.path(classes.has(type) ? type : DDIM).deepCopy();
    if (!classes.has(type)) {
      values.put("set_alpha_to_one", false);
    }
    List<String> keys = new ArrayList<>();
    values.fieldNames().forEachRemaining(keys::add);
    keys.stream().filter(raw::hasNonNull).forEach(key -> values.set(key, raw.get(key)));
    return new SchedulerConfig(type, values, raw.path(ZERO_SNR).asBoolean(false));
  }

  private static JsonNode readKnown() {
    try (InputStream in = SchedulerConfig.class.getResourceAsStream("schedulers.json")) {
      return Json.MAPPER.readTree(in);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** {@code _class_name}. */
  String type() {
    return type;
  }

  /** Whether this class has that option and a value for it. */
  boolean has(String key) {
    return values.hasNonNull(key);
  }

  /** An option on or off; off where the class does not have it. */
  boolean flag(String key) {
    return has(key) && value(key, values.path(key).isBoolean(), "true or false").asBoolean();
  }

  int integer(String key) {
    return value(key, values.path(key).canConvertToExactIntegral(), "a whole number").asInt();
  }

  double number(String key) {
    return value(key, values.path(key).isNumber(), "a number").asDouble();
  }

  String text(String key) {
    return value(key, values.path(key).isTextual(), "a name").asText();
  }

  /** An array of numbers. */
  double[] numbers(String key) {
    JsonNode array = value(key, values.path(key).isArray(), "an array of numbers");
    double[] numbers = new double[array.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = array.get(i).asDouble();
    }
    return numbers;
  }

  private JsonNode value(String key, boolean fits, String wanted) {
    if (!fits) {
      throw new IllegalArgumentException(
          "'" + key + "' of " + type + " is " + values.get(key) + "; want " + wanted);
    }
    return values.get(key);
  }

  PredictionType prediction() {
    return PredictionType.parse(text("prediction_type"));
  }

  TimestepSpacing spacing() {
    return TimestepSpacing.parse(text("timestep_spacing"));
  }

  /**
   * Options that diffusers has and this library does not: an error where they are in use (neither
   * absent nor null nor false nor empty).
   */
  void refuse(String... keys) {
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
                type, key, value, String.join(", ", Schedulers.NAMES)));
      }
    }
  }

  /** Whether the model was trained down to pure noise, whatever this class makes of it. */
  boolean zeroSnr() {
    return zeroSnr;
  }

  /** An error where {@link #zeroSnr}, which diffusers' class of this name silently leaves out. */
  void refuseZeroSnr() {
    if (zeroSnr) {
      throw new IllegalArgumentException(
          type + " does not know " + ZERO_SNR + "; use ddim, euler, unipc or dpmpp-2m");
    }
  }

  /** The bound that predicted data is clipped to; ∞ where it is not. */
  double clip() {
    return flag("clip_sample") ? number("clip_sample_range") : Double.POSITIVE_INFINITY;
  }

  /** How much of the noise is drawn anew, 0 (deterministic) to 1. */
  double eta() {
    double eta = number("eta");
    if (!(eta >= 0 && eta <= 1)) {
      throw new IllegalArgumentException("eta is " + eta + "; want 0 (deterministic) to 1");
    }
    return eta;
  }

  /** An error unless {@code got}, the value of {@code key}, is among {@code known}. */
  static String oneOf(String key, String got, String... known) {
    if (!List.of(known).contains(got)) {
      throw new IllegalArgumentException(Suggestions.unknown(key, got, List.of(known)));
    }
    return got;
  }
}
