package org.perflow.io.picture;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.zip.CRC32;
import org.jspecify.annotations.Nullable;

/** PNG (https://www.w3.org/TR/png/): a signature, then chunks. */
final class PngFile {
  private static final int GREY = 0;
  private static final int MAX_METADATA = 4 << 20; // profiles for printing have 2 MB

  /** What the pixels are made of; the rest, of which texts can be bombs, no decoder gets to see. */
  private static final Set<String> PIXELS = Set.of("IHDR", "PLTE", "tRNS", "IDAT", "IEND");

  private PngFile() {}

  static EncodedPicture open(byte[] file) throws IOException {
    List<PngChunks.Chunk> chunks = PngChunks.of(file);
    ByteBuffer header = ByteBuffer.wrap(chunks.get(0).data());
    byte[] exif = null;
    byte[] xmp = null;
    byte[] profile = null;
    for (PngChunks.Chunk chunk : chunks) {
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

  private static byte[] pixels(byte[] file, List<PngChunks.Chunk> chunks) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream(file.length);
    out.write(file, 0, PngChunks.START);
    for (PngChunks.Chunk chunk : chunks) {
      if (chunk.isCritical()) {
        check(chunk);
      }
      if (PIXELS.contains(chunk.type())) {
        out.write(file, chunk.from() - 8, chunk.length() + 12);
      }
    }
    return out.toByteArray();
  }

  private static void check(PngChunks.Chunk chunk) throws IOException {
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
    return PngChunks.inflate(data, name + 2, MAX_METADATA);
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
  private static String text(PngChunks.Chunk chunk) {
    try {
      return PngText.value(chunk, MAX_METADATA);
    } catch (IOException e) {
      return "";
    }
  }
}
