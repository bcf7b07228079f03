package org.perflow.io;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collections;
import java.util.Map;
import java.util.Objects;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * An open safetensors file: eight bytes of header length, a JSON header, then the bytes of the
 * tensors, row-major and little-endian. The header is checked in full before anything is read.
 * Tensors are streamed from disk straight into their native memory, so a file may be of any size.
 * Thread-safe.
 */
public final class SafetensorsFile implements NamedTensors {
  static final long MAX_HEADER = 100_000_000; // the limit of the reference implementation
  private static final int CHUNK = 4 << 20;

  private final Path file;
  private final FileChannel channel;
  private final long dataStart;
  private final SafetensorsHeader header;

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
    byte[] json = readHeader();
    this.dataStart = Long.BYTES + json.length;
    this.header = new SafetensorsHeader(file, json, channel.size() - dataStart);
  }

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
      throw bad(SafetensorsHeader.truncated(Long.BYTES + length, size));
    }
    byte[] header = new byte[(int) length];
    readFully(ByteBuffer.wrap(header), Long.BYTES);
    return header;
  }

  private FormatException bad(String problem) {
    return new FormatException(file + ": " + problem + SafetensorsHeader.AGAIN);
  }

  // ---------------------------------------------------------------- content

  @Override
  public Map<String, Entry> entries() {
    return Collections.unmodifiableMap(header.entries);
  }

  /** The free strings of the header; empty where it has none. */
  @Override
  public Map<String, String> metadata() {
    return Collections.unmodifiableMap(header.metadata);
  }

  @Override
  public Tensor read(String name, DType as) throws IOException {
    Entry entry = entry(name);
    SafetensorsHeader.Span span = Objects.requireNonNull(header.spans.get(name));
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
            file
                + ": "
                + SafetensorsHeader.truncated(at + into.remaining(), channel.size())
                + SafetensorsHeader.AGAIN);
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
