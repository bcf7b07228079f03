package org.perflow.io.picture;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/** The chunks of a PNG (https://www.w3.org/TR/png/): what comes after its signature. */
final class PngChunks {
  static final String SIGNATURE = "\u0089PNG\r\n\u001a\n";

  /** Where they begin. */
  static final int START = SIGNATURE.length();

  private PngChunks() {}

  /** Data of {@code length} bytes at {@code from} in {@code file}. */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  record Chunk(String type, byte[] file, int from, int length) {
    byte[] data() {
      return Arrays.copyOfRange(file, from, from + length);
    }

    /** One that a reader must know (a capital letter). */
    boolean isCritical() {
      return Character.isUpperCase(type.charAt(0));
    }
  }

  /**
   * The chunks up to the end, in order.
   *
   * @throws IOException where the file is cut off
   */
  static List<Chunk> of(byte[] file) throws IOException {
    ByteBuffer data = ByteBuffer.wrap(file);
    List<Chunk> chunks = new ArrayList<>();
    int at = START;
    while (at <= file.length - 12) {
      int length = data.getInt(at);
      if (length < 0 || length > file.length - at - 12) {
        break;
      }
      String type = new String(file, at + 4, 4, StandardCharsets.ISO_8859_1);
      chunks.add(new Chunk(type, file, at + 8, length));
      if (type.equals("IEND")) {
        return chunks;
      }
      at += 12 + length;
    }
    throw new IOException("damaged picture (cut off: its end is missing)");
  }

  /** What is compressed in {@code data} from {@code from} on. */
  static byte[] inflate(byte[] data, int from, int limit) throws IOException {
    Inflater inflater = new Inflater();
    try {
      inflater.setInput(data, from, data.length - from);
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      byte[] part = new byte[1 << 14];
      while (!inflater.finished()) {
        int length = inflater.inflate(part);
        if (length == 0) {
          throw new IOException("damaged picture (compressed data are cut off)");
        }
        out.write(part, 0, length);
        if (out.size() > limit) {
          throw new IOException(
              "damaged picture (%d bytes unfold to more than %d)".formatted(data.length, limit));
        }
      }
      return out.toByteArray();
    } catch (DataFormatException e) {
      throw new IOException("damaged picture (" + e.getMessage() + ")", e);
    } finally {
      inflater.end();
    }
  }
}
