package org.perflow.io;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.perflow.tensor.DType;

/**
 * The JSON header of a safetensors file, checked in full as in
 * https://github.com/huggingface/safetensors#format: every byte of the data belongs to exactly one
 * tensor. Read token by token, so that it takes memory for what it names and for nothing else.
 */
final class SafetensorsHeader {
  static final String METADATA = "__metadata__";
  static final String AGAIN = "; copy or download it again";

  private final Path file;
  final Map<String, NamedTensors.Entry> entries = new LinkedHashMap<>();
  final Map<String, Span> spans = new LinkedHashMap<>();
  final Map<String, String> metadata = new LinkedHashMap<>();

  /** The bytes {@code [begin, end)} of the data. */
  record Span(String name, long begin, long end) {}

  /**
   * Reads {@code json}.
   *
   * @param data bytes of the file behind the header
   * @throws FormatException saying what is wrong with it
   */
  SafetensorsHeader(Path file, byte[] json, long data) throws IOException {
    this.file = file;
    var utf8 =
        new InputStreamReader(
            new ByteArrayInputStream(json), StandardCharsets.UTF_8.newDecoder()); // no replacing
    try (JsonParser parser = Json.MAPPER.createParser(utf8)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw bad("its header is no JSON object");
      }
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String name = parser.currentName();
        parser.nextToken();
        if (name.equals(METADATA)) {
          readMetadata(parser);
        } else {
          readTensor(name, parser);
        }
      }
      if (parser.nextToken() != null) {
        throw bad("its header goes on behind its JSON object");
      }
    } catch (CharacterCodingException e) {
      throw new FormatException(file + ": its header is no valid JSON: it is no UTF-8" + AGAIN, e);
    } catch (JsonProcessingException e) {
      throw new FormatException(file + ": its header is no valid JSON: " + Json.explain(e), e);
    }
    checkLayout(Long.BYTES + json.length, data);
  }

  /** Strings by name; null, which some writers leave, is none. */
  private void readMetadata(JsonParser parser) throws IOException {
    if (parser.currentToken() == JsonToken.VALUE_NULL) {
      return;
    }
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw new FormatException(file + ": " + METADATA + " is no JSON object");
    }
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String key = parser.currentName();
      if (parser.nextToken() != JsonToken.VALUE_STRING) {
        throw new FormatException(
            "%s: %s holds strings only, but '%s' is none; write it anew with that as a string"
                .formatted(file, METADATA, key));
      }
      metadata.put(key, parser.getText());
    }
  }

  private void readTensor(String name, JsonParser parser) throws IOException {
    String dtype = "";
    long[] shape = null;
    long[] offsets = null;
    if (parser.currentToken() == JsonToken.START_OBJECT) {
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String key = parser.currentName();
        parser.nextToken();
        switch (key) {
          case "dtype" -> dtype = parser.getText();
          case "shape" -> shape = longs(name, key, parser);
          case "data_offsets" -> offsets = longs(name, key, parser);
          default -> parser.skipChildren();
        }
      }
    }
    DType type = dtype(name, dtype);
    if (shape == null || offsets == null) {
      throw bad(
          "tensor '" + name + "' has no list '" + (shape == null ? "shape" : "data_offsets") + "'");
    }
    entries.put(name, new NamedTensors.Entry(name, type, shape));
    spans.put(name, span(name, type, shape, offsets));
  }

  private DType dtype(String tensor, String name) throws FormatException {
    for (DType type : DType.values()) {
      if (type.safetensorsName().equals(name)) {
        return type;
      }
    }
    throw new FormatException(
        "%s: tensor '%s': dtype '%s', known are %s"
            .formatted(file, tensor, name, Arrays.toString(DType.values())));
  }

  private long[] longs(String name, String key, JsonParser parser) throws IOException {
    if (parser.currentToken() != JsonToken.START_ARRAY) {
      throw bad("tensor '" + name + "' has no list '" + key + "'");
    }
    long[] values = new long[NamedTensors.MAX_DIMENSIONS];
    int count = 0;
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      boolean whole =
          parser.currentToken() == JsonToken.VALUE_NUMBER_INT
              && parser.getNumberType() != JsonParser.NumberType.BIG_INTEGER;
      if (!whole || parser.getLongValue() < 0) {
        throw bad("tensor '%s' has %s in its %s".formatted(name, parser.getText(), key));
      }
      if (count == values.length) {
        throw bad("tensor '" + name + "' has over " + count + " numbers in its " + key);
      }
      values[count++] = parser.getLongValue();
    }
    return Arrays.copyOf(values, count);
  }

  private Span span(String name, DType dtype, long[] shape, long[] offsets) throws FormatException {
    if (offsets.length != 2 || offsets[0] > offsets[1]) {
      throw bad("tensor '" + name + "' has data_offsets " + Arrays.toString(offsets));
    }
    long bytes = dtype.bytes();
    try {
      for (long size : shape) {
        bytes = Math.multiplyExact(bytes, size);
      }
    } catch (ArithmeticException e) {
      bytes = -1; // more than any file: reported like any other wrong size
    }
    if (offsets[1] - offsets[0] != bytes) {
      throw bad(
          "tensor '%s' of %s%s needs %s bytes, but its data_offsets %s hold %d"
              .formatted(
                  name,
                  dtype,
                  Arrays.toString(shape),
                  bytes < 0 ? "over 2^63" : bytes,
                  Arrays.toString(offsets),
                  offsets[1] - offsets[0]));
    }
    return new Span(name, offsets[0], offsets[1]);
  }

  /** Every byte of the data belongs to exactly one tensor. */
  private void checkLayout(long dataStart, long data) throws FormatException {
    List<Span> inOrder = new ArrayList<>(spans.values());
    inOrder.sort(Comparator.comparingLong(Span::begin).thenComparingLong(Span::end));
    long position = 0;
    String before = "the header";
    for (Span span : inOrder) {
      if (span.begin() != position) {
        throw bad(
            "tensor '%s' begins at byte %d of the data, but %s ends at %d: they %s"
                .formatted(
                    span.name(),
                    span.begin(),
                    before,
                    position,
                    span.begin() < position ? "overlap" : "leave a hole"));
      }
      position = span.end();
      before = "'" + span.name() + "'";
    }
    if (position > data) {
      throw bad(truncated(dataStart + position, dataStart + data)); // end may be near 2^63
    }
    if (position < data) {
      throw bad(
          "expected %d bytes, but it has %d: %d at its end belong to no tensor"
              .formatted(dataStart + position, dataStart + data, data - position));
    }
  }

  static String truncated(long expected, long actual) {
    return "it is truncated: expected " + Long.toUnsignedString(expected) + " bytes, got " + actual;
  }

  private FormatException bad(String problem) {
    return new FormatException(file + ": " + problem + AGAIN);
  }
}
