package org.perflow.accelerate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.perflow.io.Json;
import org.perflow.train.RunConfig;

/**
 * Settings by the family of the teacher, as the config of a run: what PeRFlow's authors train with,
 * where they say. Stateless.
 */
public final class Presets {
  private static final ObjectNode ALL = read();

  private Presets() {}

  private static ObjectNode read() {
    try (InputStream in =
        Objects.requireNonNull(Presets.class.getResourceAsStream("presets.json"))) {
      return (ObjectNode) Json.MAPPER.readTree(in);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Those there are. */
  public static List<String> names() {
    List<String> names = new ArrayList<>();
    ALL.fieldNames().forEachRemaining(names::add);
    return names;
  }

  /** What it is for and where its settings come from. */
  public static String about(String name) {
    return preset(name).path("about").asText();
  }

  /**
   * Its sections: "method", the settings of that method, "train" and "lora".
   *
   * @throws IllegalArgumentException naming those there are
   */
  public static RunConfig of(String name) {
    ObjectNode sections = preset(name).deepCopy();
    sections.remove("about");
    return new RunConfig(sections);
  }

  private static ObjectNode preset(String name) {
    if (ALL.get(name) instanceof ObjectNode preset) {
      return preset;
    }
    throw new IllegalArgumentException(
        "no preset '%s'; expected one of %s".formatted(name, names()));
  }
}
