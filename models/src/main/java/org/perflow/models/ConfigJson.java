package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.WeightFiles;

/**
 * A published {@code config.json}: keys that are missing or null take the default of the Python
 * class, and what would ask for parts that we do not build is refused rather than ignored.
 */
final class ConfigJson {
  private static final int MOST_LEVELS = 12;

  private final JsonNode node;

  ConfigJson(JsonNode node) {
    this.node = node;
  }

  /** The configuration of a model folder. */
  static <C> C read(Path folder, Function<JsonNode, C> of) throws IOException {
    Path file = folder.resolve("config.json");
    JsonNode node = Json.readObject(file);
    try {
      return of.apply(node);
    } catch (IllegalArgumentException e) {
      throw new FormatException(file + ": " + e.getMessage(), e);
    }
  }

  /** The weights of a model folder: that file, its shards, a variant or a pickle. */
  static Path weights(Path folder, String name) throws IOException {
    return WeightFiles.find(folder, name);
  }

  private @Nullable JsonNode get(String key) {
    JsonNode value = node.get(key);
    return value == null || value.isNull() ? null : value;
  }

  int integer(String key, int otherwise) {
    JsonNode value = get(key);
    return value == null ? otherwise : ConfigRanges.integer(key, value);
  }

  @Nullable Double number(String key) {
    JsonNode value = get(key);
    return value == null ? null : ConfigRanges.number(key, value);
  }

  double number(String key, double otherwise) {
    Double value = number(key);
    return value == null ? otherwise : value;
  }

  boolean flag(String key, boolean otherwise) {
    JsonNode value = get(key);
    if (value != null && !value.isBoolean()) {
      throw new IllegalArgumentException(
          key + ": got " + ConfigRanges.shown(value) + ", expected true or false");
    }
    return value == null ? otherwise : value.booleanValue();
  }

  String text(String key, String otherwise) {
    JsonNode value = get(key);
    if (value != null && !value.isTextual()) {
      throw new IllegalArgumentException(
          key + ": got " + ConfigRanges.shown(value) + ", expected a text");
    }
    return value == null ? otherwise : value.asText();
  }

  /** A side length, which diffusers also writes as [height, width]. */
  int side(String key, int otherwise) {
    JsonNode value = get(key);
    if (value != null && value.isArray()) {
      if (value.size() != 2 || !value.get(0).equals(value.get(1))) {
        throw new IllegalArgumentException(
            key + ": got " + ConfigRanges.shown(value) + ", only squares are built");
      }
      return ConfigRanges.integer(key, value.get(0));
    }
    return integer(key, otherwise);
  }

  List<String> texts(String key, List<String> otherwise) {
    JsonNode value = list(key);
    if (value == null) {
      return otherwise;
    }
    List<String> list = new ArrayList<>();
    value.forEach(item -> list.add(item.asText()));
    return List.copyOf(list);
  }

  List<Integer> integers(String key, List<Integer> otherwise) {
    JsonNode value = list(key);
    if (value == null) {
      return otherwise;
    }
    List<Integer> list = new ArrayList<>();
    value.forEach(item -> list.add(ConfigRanges.integer(key, item)));
    return List.copyOf(list);
  }

  private @Nullable JsonNode list(String key) {
    JsonNode value = get(key);
    if (value != null && (!value.isArray() || value.size() > MOST_LEVELS)) {
      throw new IllegalArgumentException(
          "%s: got %s, expected a list of up to %d"
              .formatted(
                  key,
                  value.isArray() ? value.size() + " values" : ConfigRanges.shown(value),
                  MOST_LEVELS));
    }
    return value;
  }

  /** One integer a level; a single one holds for all. */
  List<Integer> perLevel(String key, int levels, int otherwise) {
    JsonNode value = get(key);
    List<Integer> list =
        value != null && value.isArray()
            ? integers(key, List.of())
            : Collections.nCopies(levels, integer(key, otherwise));
    if (list.size() != levels) {
      throw new IllegalArgumentException(
          key + ": got " + list + ", expected one value for each of " + levels + " levels");
    }
    return List.copyOf(list);
  }

  /** Writes {@code values} as the single integer they all are, else as a list. */
  static void put(ObjectNode json, String key, List<Integer> values) {
    if (new HashSet<>(values).size() == 1) {
      json.put(key, values.get(0));
    } else {
      json.set(key, Json.MAPPER.valueToTree(values));
    }
  }

  /** Channels are normalised in groups, and attended to by heads, of equal size. */
  static void checkDivides(String key, int divisor, int channels) {
    if (divisor < 1 || channels % divisor != 0) {
      throw new IllegalArgumentException(
          "%s: got %d, which does not divide the %d of block_out_channels"
              .formatted(key, divisor, channels));
    }
  }

  /** Refuses any value of {@code key} but null, absent and those {@code built}. */
  void only(String key, Object... built) {
    JsonNode value = get(key);
    if (value != null && Arrays.stream(built).noneMatch(b -> same(value, b))) {
      throw new IllegalArgumentException(
          "%s: got %s, which is not built; supported: %s"
              .formatted(
                  key,
                  ConfigRanges.shown(value),
                  built.length == 0 ? "null" : Arrays.toString(built)));
    }
  }

  private static boolean same(JsonNode value, Object built) {
    return built instanceof Number number
        ? value.isNumber() && value.doubleValue() == number.doubleValue()
        : value.asText().equals(built.toString());
  }
}
