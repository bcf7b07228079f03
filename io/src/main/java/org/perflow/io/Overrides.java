package org.perflow.io;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;

/** Settings laid over the defaults of an options record; a key it does not know is an error. */
public final class Overrides {
  private Overrides() {}

  /**
   * {@code defaults} with the keys of a JSON file in their place.
   *
   * @throws FormatException naming the file, and the key or the value that does not fit
   */
  public static <T extends Record> T read(Path file, T defaults) throws IOException {
    try {
      return apply(defaults, Json.read(file));
    } catch (IllegalArgumentException e) {
      throw new FormatException(file + ": " + e.getMessage(), e);
    }
  }

  /** {@code defaults} with the keys of {@code changes} in their place. */
  public static <T extends Record> T apply(T defaults, JsonNode changes) {
    if (!(changes instanceof ObjectNode object)) {
      throw new IllegalArgumentException("expected a JSON object of settings");
    }
    for (Map.Entry<String, JsonNode> change : object.properties()) {
      JsonNode value = change.getValue();
      if (value.isFloatingPointNumber() && !Double.isFinite(value.asDouble())) {
        throw new IllegalArgumentException(
            "%s is %s, expected a number".formatted(change.getKey(), value.asText()));
      }
    }
    ObjectNode merged = Json.MAPPER.valueToTree(defaults);
    merged.setAll(object);
    @SuppressWarnings("unchecked")
    Class<T> type = (Class<T>) defaults.getClass();
    try {
      return Json.MAPPER.treeToValue(merged, type);
    } catch (JsonProcessingException e) {
      boolean refused = e.getCause() instanceof IllegalArgumentException;
      throw new IllegalArgumentException(
          refused ? e.getCause().getMessage() : e.getOriginalMessage(), e);
    }
  }
}
