package org.perflow.data;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;
import org.perflow.io.FormatException;

/**
 * An array of bytes in LeCun's IDX format, as MNIST and its kin are published: two zero bytes, the
 * element type (8 = unsigned byte), the number of dimensions, their big-endian sizes, the elements.
 *
 * @param shape such as [N, 28, 28]
 * @param bytes all elements, the last dimension fastest
 */
@SuppressWarnings("ArrayRecordComponent") // read and used up, never compared
record IdxFile(int[] shape, byte[] bytes) {
  private static final int UNSIGNED_BYTES = 8 << 8;

  /**
   * Reads one that gzip has packed.
   *
   * @param item sizes of all dimensions but the first
   * @throws FormatException naming the file and what is wrong with it
   */
  static IdxFile read(Path gz, int... item) throws IOException {
    if (!Files.isRegularFile(gz)) {
      throw new NoSuchFileException(gz.toString(), null, "there is no such file");
    }
    try (DataInputStream in =
        new DataInputStream(
            new BufferedInputStream(new GZIPInputStream(Files.newInputStream(gz))))) {
      int magic = in.readInt();
      int expected = UNSIGNED_BYTES | item.length + 1;
      if (magic != expected) {
        throw new FormatException(
            "%s begins with %08x, expected %08x: an IDX file of unsigned bytes in %d dimensions"
                .formatted(gz, magic, expected, item.length + 1));
      }
      int[] shape = new int[item.length + 1];
      long size = 1;
      for (int i = 0; i < shape.length; i++) {
        shape[i] = in.readInt();
        size = Math.max(-1, Math.min(size * shape[i], Integer.MAX_VALUE)); // no overflow
      }
      if (!Arrays.equals(shape, 1, shape.length, item, 0, item.length) || size < 0) {
        throw new FormatException(
            "%s holds items of %s, expected %s"
                .formatted(gz, Arrays.toString(shape), "[N" + joined(item) + "]"));
      }
      byte[] bytes = in.readNBytes((int) size);
      if (bytes.length < size || in.read() >= 0) {
        throw new FormatException(
            "%s says that it holds %,d bytes, but has %s; fetch it again"
                .formatted(gz, size, bytes.length < size ? "%,d".formatted(bytes.length) : "more"));
      }
      return new IdxFile(shape, bytes);
    } catch (EOFException e) {
      throw new FormatException(gz + " is truncated; fetch it again", e);
    } catch (ZipException e) {
      throw new FormatException(
          gz + " is not packed by gzip, or damaged (" + e.getMessage() + "); fetch it again", e);
    }
  }

  private static String joined(int[] item) {
    StringBuilder text = new StringBuilder();
    Arrays.stream(item).forEach(size -> text.append(", ").append(size));
    return text.toString();
  }

  /** How many items. */
  int count() {
    return shape[0];
  }
}
