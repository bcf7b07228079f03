package org.perflow.serve.http;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.Color;
import java.awt.Dimension;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.util.Base64;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Guidance;
import org.perflow.io.Suggestions;
import org.perflow.io.picture.PictureDecoder;
import org.perflow.io.picture.PictureFormat;
import org.perflow.pipeline.Request;

/**
 * A request's fields by type. What is absent is null, as what is null; what is of another type is a
 * {@link Problem} that names the field.
 *
 * @param maxPixels of a picture that is sent
 */
record Fields(ObjectNode values, int maxPixels) {
  private static final long SEEDS = 1L << 32; // as many as other servers draw from

  /** Refuses fields that are none of {@code known}. */
  void refuseUnknown(Collection<String> known) {
    values
        .fieldNames()
        .forEachRemaining(
            name -> {
              if (!known.contains(name)) {
                throw Problem.bad(name, Suggestions.unknown("field", name, known));
              }
            });
  }

  private @Nullable JsonNode get(String name) {
    JsonNode value = values.get(name);
    return value == null || value.isNull() ? null : value;
  }

  @Nullable String text(String name) {
    JsonNode value = get(name);
    if (value != null && !value.isTextual()) {
      throw wrong(name, "a text", value);
    }
    return value == null ? null : value.textValue();
  }

  /** The text, {@code null} where there is nothing but blanks. */
  @Nullable String words(String name) {
    String text = text(name);
    return text == null || text.isBlank() ? null : text;
  }

  @Nullable Integer whole(String name) {
    Long value = wholeLong(name);
    if (value != null && value.intValue() != value) {
      throw wrong(name, "a whole number", values.get(name));
    }
    return value == null ? null : value.intValue();
  }

  int whole(String name, int otherwise) {
    return Objects.requireNonNullElse(whole(name), otherwise);
  }

  @Nullable Long wholeLong(String name) {
    JsonNode value = get(name);
    if (value == null) {
      return null;
    }
    boolean whole =
        value.isNumber() && value.canConvertToLong() && value.canConvertToExactIntegral();
    if (!whole) {
      throw wrong(name, "a whole number", value);
    }
    return value.longValue();
  }

  @Nullable Double number(String name) {
    JsonNode value = get(name);
    if (value != null && !(value.isNumber() && Double.isFinite(value.doubleValue()))) {
      throw wrong(name, "a number", value);
    }
    return value == null ? null : value.doubleValue();
  }

  double number(String name, double otherwise) {
    return Objects.requireNonNullElse(number(name), otherwise);
  }

  boolean flag(String name) {
    JsonNode value = get(name);
    if (value != null && !value.isBoolean()) {
      throw wrong(name, "true or false", value);
    }
    return value != null && value.booleanValue();
  }

  @Nullable Fields object(String name) {
    JsonNode value = get(name);
    if (value != null && !value.isObject()) {
      throw wrong(name, "an object", value);
    }
    return value == null ? null : new Fields((ObjectNode) value, maxPixels);
  }

  List<JsonNode> list(String name) {
    JsonNode value = get(name);
    if (value != null && !value.isArray()) {
      throw wrong(name, "a list", value);
    }
    return value == null ? List.of() : List.copyOf(iterate(value));
  }

  private static List<JsonNode> iterate(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).toList();
  }

  private static Problem wrong(String name, String wanted, JsonNode got) {
    String text = got.toString();
    return Problem.bad(
        name,
        "%s is %s; want %s"
            .formatted(name, text.length() > 60 ? text.substring(0, 60) + "..." : text, wanted));
  }

  // ---------------------------------------------------------------- what dialects share

  /** For {@code prompt}, with what all dialects call the same. */
  Request request(String prompt, @Nullable Integer steps) {
    Request request =
        Request.of(prompt)
            .withNegativePrompt(words("negative_prompt"))
            .withSize(whole("width", 0), whole("height", 0))
            .withSeed(seed());
    return steps == null ? request : request.withSteps(steps);
  }

  /** The seed asked for, or else one by lot; -1 asks for that, too. */
  long seed() {
    Long asked = wholeLong("seed");
    return asked == null || asked == -1 ? ThreadLocalRandom.current().nextLong(SEEDS) : asked;
  }

  /** A number, or scales with dashes between; the model's own where there is none. */
  Guidance guidance(String name) {
    JsonNode value = get(name);
    if (value != null && value.isTextual()) {
      return Guidance.parse(value.textValue());
    }
    return value == null ? Guidance.OWN : Guidance.of(Objects.requireNonNull(number(name)));
  }

  /** Name to weight. */
  Map<String, Double> weights(String name) {
    Fields object = object(name);
    Map<String, Double> weights = new LinkedHashMap<>();
    if (object != null) {
      object
          .values()
          .fieldNames()
          .forEachRemaining(each -> weights.put(each, object.number(each, 1)));
    }
    return weights;
  }

  /** png, jpeg or webp; PNG where there is none. */
  PictureFormat format(String name) {
    String text = text(name);
    return text == null
        ? PictureFormat.PNG
        : switch (text.toLowerCase(Locale.ROOT)) {
          case "png" -> PictureFormat.PNG;
          case "jpeg", "jpg" -> PictureFormat.JPEG;
          case "webp" -> PictureFormat.WEBP;
          default ->
              throw Problem.bad(
                  name, Suggestions.unknown("format", text, List.of("png", "jpeg", "webp")));
        };
  }

  /** A picture in base64, bare or as a data URL; null where there is none. */
  @Nullable BufferedImage picture(String name, Color ground) {
    String text = words(name);
    return text == null ? null : picture(name, text, ground);
  }

  /** The picture in {@code text}, the value of field {@code name}. */
  BufferedImage picture(String name, String text, Color ground) {
    return decode(name, bytes(name, text), ground, maxPixels);
  }

  static byte[] bytes(String name, String text) {
    if (text.regionMatches(true, 0, "http:", 0, 5) || text.regionMatches(true, 0, "https:", 0, 6)) {
      throw Problem.bad(name, name + " is a URL, and none is fetched; send the picture in base64");
    }
    int comma = text.startsWith("data:") ? text.indexOf(',') : -1;
    try {
      return Base64.getMimeDecoder().decode(text.substring(comma + 1));
    } catch (IllegalArgumentException e) {
      throw Problem.bad(name, name + " is no base64");
    }
  }

  static BufferedImage decode(String name, byte[] file, Color ground, int maxPixels) {
    try {
      Dimension size = PictureDecoder.size(file);
      if ((long) size.width * size.height > maxPixels) {
        throw Problem.bad(
            name,
            "%s has %d x %d pixels, %d are allowed; make it smaller"
                .formatted(name, size.width, size.height, maxPixels));
      }
      return PictureDecoder.decode(file, ground);
    } catch (IOException e) {
      throw Problem.bad(name, name + ": " + e.getMessage());
    }
  }
}
