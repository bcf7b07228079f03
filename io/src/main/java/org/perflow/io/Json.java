package org.perflow.io;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.stream.Collectors;

/** Reads and writes JSON files strictly: a key unknown, missing a value or twice is an error. */
public final class Json {
  /** The mapper behind it all: records in, two-space indentation out. Thread-safe. */
  public static final ObjectMapper MAPPER =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          // Python writes infinities bare, such as lambda_min_clipped of a scheduler
          .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
          .disable(JsonWriteFeature.WRITE_NAN_AS_STRINGS)
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(SerializationFeature.INDENT_OUTPUT)
          .defaultPrettyPrinter(printer())
          .build();

  private Json() {}

  private static DefaultPrettyPrinter printer() {
    return new DefaultPrettyPrinter()
        .withObjectIndenter(new DefaultIndenter("  ", "\n")) // the same bytes on every system
        .withSeparators(
            Separators.createDefaultInstance()
                .withObjectFieldValueSpacing(Separators.Spacing.AFTER));
  }

  /**
   * The document in {@code file}.
   *
   * @throws FormatException with file, line and column where it is no JSON
   */
  public static JsonNode read(Path file) throws IOException {
    return read(file, JsonNode.class);
  }

  /**
   * The document in {@code file} as a record of that type.
   *
   * @throws FormatException naming file and key where it does not fit, or with the message of the
   *     record's constructor
   */
  public static <T> T read(Path file, Class<T> type) throws IOException {
    if (!Files.exists(file)) {
      throw new NoSuchFileException(file.toString(), null, "there is no such file");
    }
    try {
      return MAPPER.readValue(Files.readAllBytes(file), type);
    } catch (JsonProcessingException e) {
      throw new FormatException(file + ": " + explain(e), e);
    }
  }

  private static String explain(JsonProcessingException e) {
    if (e.getCause() instanceof IllegalArgumentException invalid) {
      return String.valueOf(invalid.getMessage()); // a record refused its values in its own words
    }
    String key = e instanceof JsonMappingException mapping ? path(mapping) : "";
    if (e.getOriginalMessage().startsWith("Cannot map `null`")) {
      return "'" + key + "' has no value";
    }
    var at = e.getLocation();
    return (key.isEmpty() ? "" : "'" + key + "': ")
        + e.getOriginalMessage()
        + (at == null ? "" : " (line " + at.getLineNr() + ", column " + at.getColumnNr() + ")");
  }

  /** Where in the document, such as {@code optimizer.betas.0}. */
  private static String path(JsonMappingException e) {
    return e.getPath().stream()
        .map(step -> step.getFieldName() == null ? "" + step.getIndex() : step.getFieldName())
        .collect(Collectors.joining("."));
  }

  /** Writes {@code value} atomically, indented, in UTF-8, with a newline at the end. */
  public static void write(Path file, Object value) throws IOException {
    byte[] text = (MAPPER.writeValueAsString(value) + "\n").getBytes(StandardCharsets.UTF_8);
    AtomicFiles.write(file, out -> out.write(text));
  }
}
