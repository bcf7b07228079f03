package org.perflow.io;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * An open safetensors file: eight bytes of header length, a JSON header, then the bytes of the
 * tensors, row-major and little-endian. The header is checked in full before anything is read, as
 * in https://github.com/huggingface/safetensors#format: every byte of the data belongs to exactly
 * one tensor. Tensors are streamed from disk straight into their native memory, so a file may be of
 * any size. Thread-safe.
 */
public final class SafetensorsFile implements NamedTensors {
  static final String METADATA = "__metadata__";
  static final long MAX_HEADER = 100_000_000; // the limit of the reference implementation
  private static final int CHUNK = 4 << 20;
  private static final String AGAIN = "; copy or download it again";

  private final Path file;
  private final FileChannel channel;
  private final long dataStart;
  private final Map<String, Entry> entries;
  private final Map<String, Span> spans;
  private final Map<String, String> metadata;

  /** The bytes {@code [begin, end)} of the data. */
  private record Span(String name, long begin, long end) {}

  /**
   * Opens {@code file} and reads its header.
   *
   * @throws FormatException saying what is wrong with the file
   */
  public static SafetensorsFile open(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new NoSuchFileException(file.toString(), null, "there is no such file");
    }
    FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
    try {
      return new SafetensorsFile(file, channel);
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  private SafetensorsFile(Path file, FileChannel channel) throws IOException {
    this.file = file;
    this.channel = channel;
    byte[] header = readHeader();
    this.dataStart = Long.BYTES + header.length;
    JsonNode root = parse(header);
    this.metadata = Collections.unmodifiableMap(metadata(root.path(METADATA)));
    Map<String, Entry> found = new LinkedHashMap<>();
    this.spans = new LinkedHashMap<>();
    for (var property : root.properties()) {
      String name = property.getKey();
      if (!name.equals(METADATA)) {
        Entry entry = entry(name, property.getValue());
        found.put(name, entry);
        spans.put(name, span(entry, property.getValue()));
      }
    }
    this.entries = Collections.unmodifiableMap(found);
    checkLayout();
  }

  // ---------------------------------------------------------------- header

  private byte[] readHeader() throws IOException {
    long size = channel.size();
    if (size < Long.BYTES) {
      throw bad("it has " + size + " bytes, too few for a safetensors file");
    }
    ByteBuffer prefix = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    readFully(prefix, 0);
    long length = prefix.getLong(0);
    if (length < 2 || length > MAX_HEADER) { // a length over 2^63 shows up as negative
      throw bad(
          "its first eight bytes give a header of "
              + Long.toUnsignedString(length)
              + " bytes, expected 2 to "
              + MAX_HEADER
              + ": it is no safetensors file, or damaged");
    }
    if (Long.BYTES + length > size) {
      throw bad(truncated(Long.BYTES + length, size));
    }
    byte[] header = new byte[(int) length];
    readFully(ByteBuffer.wrap(header), Long.BYTES);
    return header;
  }

  private JsonNode parse(byte[] header) throws IOException {
    try {
      JsonNode root = Json.MAPPER.readTree(header);
      if (!root.isObject()) {
        throw bad("its header is no JSON object");
      }
      return root;
    } catch (JsonProcessingException e) {
      throw new FormatException(file + ": its header is no valid JSON: " + e.getMessage(), e);
    }
  }

  private Map<String, String> metadata(JsonNode node) throws FormatException {
    if (!node.isMissingNode() && !node.isObject()) {
      throw bad(METADATA + " is no JSON object");
    }
    Map<String, String> strings = new LinkedHashMap<>();
    for (var property : node.properties()) {
      if (!property.getValue().isTextual()) {
        throw bad(METADATA + " holds strings only, but '" + property.getKey() + "' is none");
      }
      strings.put(property.getKey(), property.getValue().textValue());
    }
    return strings;
  }

  private Entry entry(String name, JsonNode node) throws FormatException {
    DType dtype;
    try {
      dtype = dtype(node.path("dtype").asText());
    } catch (IllegalArgumentException e) {
      throw new FormatException(file + ": tensor '" + name + "': " + e.getMessage(), e);
    }
    return new Entry(name, dtype, longs(name, node, "shape"));
  }

  private Span span(Entry entry, JsonNode node) throws FormatException {
    String name = entry.name();
    DType dtype = entry.dtype();
    long[] shape = entry.shape();
    long[] offsets = longs(name, node, "data_offsets");
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

  private static DType dtype(String name) {
    for (DType type : DType.values()) {
      if (type.safetensorsName().equals(name)) {
        return type;
      }
    }
    throw new IllegalArgumentException(
        "dtype '" + name + "', known are " + Arrays.toString(DType.values()));
  }

  private long[] longs(String name, JsonNode node, String key) throws FormatException {
    JsonNode list = node.path(key);
    if (!list.isArray()) {
      throw bad("tensor '" + name + "' has no list '" + key + "'");
    }
    long[] values = new long[list.size()];
    for (int i = 0; i < values.length; i++) {
      JsonNode value = list.get(i);
      if (!value.isIntegralNumber() || !value.canConvertToLong() || value.longValue() < 0) {
        throw bad("tensor '" + name + "' has " + key + " " + list);
      }
      values[i] = value.longValue();
    }
    return values;
  }

  /** Every byte of the data belongs to exactly one tensor. */
  private void checkLayout() throws IOException {
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
    long actual = channel.size();
    if (position > actual - dataStart) {
      throw bad(truncated(dataStart + position, actual)); // end may be near 2^63: message only
    }
    if (position < actual - dataStart) {
      throw bad(
          "expected %d bytes, but it has %d: %d at its end belong to no tensor"
              .formatted(dataStart + position, actual, actual - dataStart - position));
    }
  }

  private static String truncated(long expected, long actual) {
    return "it is truncated: expected " + Long.toUnsignedString(expected) + " bytes, got " + actual;
  }

  private FormatException bad(String problem) {
    return new FormatException(file + ": " + problem + AGAIN);
  }

  // ---------------------------------------------------------------- content

  @Override
  public Map<String, Entry> entries() {
    return entries;
  }

  /** The free strings of the header; empty where it has none. */
  @Override
  public Map<String, String> metadata() {
    return metadata;
  }

  @Override
  public Tensor read(String name, DType as) throws IOException {
    Entry entry = entry(name);
    Span span = Objects.requireNonNull(spans.get(name));
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor tensor = Tensor.empty(as, entry.shape());
      Tensor flat = tensor.reshape(-1);
      long step = CHUNK / entry.dtype().bytes();
      for (long done = 0; done < flat.numel(); done += step) {
        Tensor part = flat.narrow(0, done, Math.min(step, flat.numel() - done));
        readPart(entry.dtype(), part, dataStart + span.begin() + done * entry.dtype().bytes());
      }
      return scope.keep(tensor);
    }
  }

  /** So that never the whole tensor is in memory in two types. */
  private void readPart(DType stored, Tensor part, long position) throws IOException {
    try (Scope scope = Scope.open()) {
      Tensor read = stored == part.dtype() ? part : Tensor.empty(stored, part.numel());
      readFully(read.bytes(0, Math.toIntExact(read.numel() * stored.bytes())), position);
      if (read != part) {
        part.copyInPlace(read);
      }
    }
  }

  private void readFully(ByteBuffer into, long position) throws IOException {
    long at = position;
    while (into.hasRemaining()) {
      int count = channel.read(into, at);
      if (count < 0) {
        throw new EOFException(
            file + ": " + truncated(at + into.remaining(), channel.size()) + AGAIN);
      }
      at += count;
    }
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }

  @Override
  public String toString() {
    return file.toString();
  }
}
