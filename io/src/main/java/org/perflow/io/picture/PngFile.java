package org.perflow.io.picture;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.zip.CRC32;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;
import org.jspecify.annotations.Nullable;

/** PNG (https://www.w3.org/TR/png/): a signature, then chunks. */
final class PngFile {
  private static final int SIGNATURE = 8;
  private static final int GREY = 0;
  private static final int MAX_METADATA = 4 << 20; // profiles for printing have 2 MB

  /** What the pixels are made of; the rest, of which texts can be bombs, no decoder gets to see. */
  private static final Set<String> PIXELS = Set.of("IHDR", "PLTE", "tRNS", "IDAT", "IEND");

  private PngFile() {}

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

  static EncodedPicture open(byte[] file) throws IOException {
    List<Chunk> chunks = chunks(file);
    ByteBuffer header = ByteBuffer.wrap(chunks.get(0).data());
    byte[] exif = null;
    byte[] xmp = null;
    byte[] profile = null;
    for (Chunk chunk : chunks) {
      switch (chunk.type()) {
        case "eXIf" -> exif = chunk.data();
        case "iCCP" -> profile = profile(chunk.data());
        case "tEXt", "zTXt", "iTXt" -> {
          String keyword = PngText.keyword(chunk);
          if (keyword.equals("XML:com.adobe.xmp") && xmp == null) {
            xmp = text(chunk).getBytes(StandardCharsets.ISO_8859_1);
          } else if (keyword.equals("Raw profile type exif") && exif == null) {
            exif = rawProfile(text(chunk));
          }
        }
        default -> {}
      }
    }
    boolean clearColour = chunks.stream().anyMatch(chunk -> chunk.type().equals("tRNS"));
    if (header.get(8) == 16 && header.get(9) == GREY && clearColour) {
      throw new IOException( // the JDK's reader never finds it
          "a transparent colour among 16-bit greys is not read; convert the picture to 8 bits");
    }
    return new EncodedPicture(
        header.getInt(0),
        header.getInt(4),
        Orientation.of(exif, xmp),
        profile,
        () -> EncodedPicture.decode("png", pixels(file, chunks)));
  }

  /**
   * The chunks up to the end, in order.
   *
   * @throws IOException where the file is cut off
   */
  static List<Chunk> chunks(byte[] file) throws IOException {
    ByteBuffer data = ByteBuffer.wrap(file);
    List<Chunk> chunks = new ArrayList<>();
    int at = SIGNATURE;
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

  private static byte[] pixels(byte[] file, List<Chunk> chunks) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream(file.length);
    out.write(file, 0, SIGNATURE);
    for (Chunk chunk : chunks) {
      if (chunk.isCritical()) {
        check(chunk);
      }
      if (PIXELS.contains(chunk.type())) {
        out.write(file, chunk.from() - 8, chunk.length() + 12);
      }
    }
    return out.toByteArray();
  }

  private static void check(Chunk chunk) throws IOException {
    CRC32 sum = new CRC32(); // over type and data
    sum.update(chunk.file(), chunk.from() - 4, chunk.length() + 4);
    int expected = ByteBuffer.wrap(chunk.file()).getInt(chunk.from() + chunk.length());
    if ((int) sum.getValue() != expected) {
      throw new IOException("damaged picture (the checksum of " + chunk.type() + " is wrong)");
    }
    if (!PIXELS.contains(chunk.type())) { // such as CgBI of Apple's tools
      throw new IOException("damaged picture (chunk " + chunk.type() + " is not known)");
    }
  }

  /** A name, a zero, a zero for the method, then the profile compressed. */
  private static byte[] profile(byte[] data) throws IOException {
    int name = 0;
    while (data[name] != 0) {
      name++;
    }
    return inflate(data, name + 2, MAX_METADATA);
  }

  /** EXIF data as ImageMagick writes them: an empty line, a name, a length, then hex digits. */
  private static byte @Nullable [] rawProfile(String text) {
    String[] lines = text.split("\n", 4);
    try {
      return lines.length < 4 ? null : HexFormat.of().parseHex(lines[3].replaceAll("\\s", ""));
    } catch (IllegalArgumentException e) {
      return null; // damaged: it says nothing
    }
  }

  /** Pixels are whole where a text is not. */
  private static String text(Chunk chunk) {
    try {
      return PngText.value(chunk, MAX_METADATA);
    } catch (IOException e) {
      return "";
    }
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
