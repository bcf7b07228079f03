package org.perflow.io;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.deser.std.FromStringDeserializer;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.ser.std.ToStringSerializer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.stream.Collectors;
import org.perflow.tensor.Device;

/**
 * Reads and writes JSON files strictly: a key unknown, missing a value or twice is an error, and so
 * is a file that is no UTF-8 or too large for a configuration.
 */
public final class Json {
  /** Limit of a file that is read whole; the largest published ones, vocabularies, have 4 MB. */
  public static final int MAX_FILE = 32_000_000;

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
          .addModule(devices())
          .defaultPrettyPrinter(printer())
          .build();

  private Json() {}

  /** Devices by the names that users say. */
  private static SimpleModule devices() {
    return new SimpleModule()
        .addSerializer(Device.class, ToStringSerializer.instance)
        .addDeserializer(
            Device.class,
            new FromStringDeserializer<>(Device.class) {
              @Override
              protected Device _deserialize(String name, DeserializationContext context) {
                return Device.parse(name);
              }
            });
  }

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
    return Reading.of(file, () -> parse(file.toString(), text(file), type));
  }

  /**
   * The document in {@code file}, which has to be an object, as configurations are.
   *
   * @throws FormatException naming the file where it is anything else
   */
  public static ObjectNode readObject(Path file) throws IOException {
    return Reading.of(file, () -> object(file.toString(), text(file)));
  }

  /**
   * The object that {@code json} is.
   *
   * @param source where it stands, for messages: a file, perhaps with a key of its header
   * @throws FormatException naming the source where it is anything else
   */
  public static ObjectNode object(String source, String json) throws FormatException {
    JsonNode node = parse(source, json, JsonNode.class);
    if (node instanceof ObjectNode object) {
      return object;
    }
    String text = node.toString();
    throw new FormatException(
        "%s: expected a JSON object, got %s"
            .formatted(source, text.length() > 40 ? text.substring(0, 40) + "..." : text));
  }

  private static <T> T parse(String source, String json, Class<T> type) throws FormatException {
    if (json.isBlank()) {
      throw new FormatException(source + ": expected JSON, got nothing");
    }
    try {
      return MAPPER.readValue(json, type);
    } catch (JsonProcessingException e) {
      throw new FormatException(source + ": " + explain(e), e);
    }
  }

  /**
   * A text file, whole; a byte order mark before it is left out.
   *
   * @throws FormatException where it is no UTF-8 or larger than {@link #MAX_FILE}
   */
  public static String text(Path file) throws IOException {
    if (!Files.exists(file)) {
      throw new NoSuchFileException(file.toString(), null, "there is no such file");
    }
    if (Files.isDirectory(file)) {
      throw new FormatException(file + " is a folder, expected a file");
    }
    byte[] bytes;
    try (var in = Files.newInputStream(file)) {
      bytes = in.readNBytes(MAX_FILE + 1);
    }
    if (bytes.length > MAX_FILE) {
      throw new FormatException(
          "%s has %,d bytes, more than the %,d that such a file may have; it is not what its name says"
              .formatted(file, Files.size(file), MAX_FILE));
    }
    try {
      String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
      return text.startsWith("\ufeff") ? text.substring(1) : text;
    } catch (CharacterCodingException e) {
      throw new FormatException(file + " is no UTF-8 text; save it as UTF-8", e);
    }
  }

  /** What is wrong, and where, in one line. */
  public static String explain(JsonProcessingException e) {
    if (e.getCause() instanceof IllegalArgumentException invalid) {
      return String.valueOf(invalid.getMessage()); // a record refused its values in its own words
    }
    String key = e instanceof JsonMappingException mapping ? path(mapping) : "";
    if (e.getOriginalMessage().startsWith("Cannot map `null`")) {
      return "'" + key + "' has no value";
    }
    var at = e.getLocation();
    return (key.isEmpty() ? "" : "'" + key + "': ")
        + e.getOriginalMessage().replaceAll("\\[Source: [^;]*; ([^]]*)]", "$1")
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
