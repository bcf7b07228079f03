package org.perflow.io.picture;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.Charset;
import java.util.LinkedHashMap;
import java.util.Map;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageTypeSpecifier;
import javax.imageio.ImageWriter;
import javax.imageio.metadata.IIOMetadata;
import javax.imageio.metadata.IIOMetadataNode;
import javax.imageio.stream.MemoryCacheImageOutputStream;

/**
 * PNG files with text chunks (https://www.w3.org/TR/png/#11textinfo): {@code tEXt} where Latin-1
 * holds the text, for the sake of old readers, else {@code iTXt}.
 */
public final class PngText {
  private static final String TREE = "javax_imageio_png_1.0";
  private static final int MAX_TEXT = 16 << 20; // bytes, all texts of a file together

  private PngText() {}

  // ---------------------------------------------------------------- writing

  /**
   * Writes {@code image} with {@code text}, keyword to text.
   *
   * @throws IllegalArgumentException for a keyword that PNG does not allow
   */
  public static void write(OutputStream out, BufferedImage image, Map<String, String> text)
      throws IOException {
    ImageWriter writer = ImageIO.getImageWritersByFormatName("png").next();
    try (var stream = new MemoryCacheImageOutputStream(out)) {
      IIOMetadata metadata =
          writer.getDefaultImageMetadata(ImageTypeSpecifier.createFromRenderedImage(image), null);
      metadata.mergeTree(TREE, tree(text));
      writer.setOutput(stream);
      writer.write(null, new IIOImage(image, null, metadata), null);
    } finally {
      writer.dispose();
    }
  }

  private static IIOMetadataNode tree(Map<String, String> text) {
    IIOMetadataNode latin = new IIOMetadataNode("tEXt");
    IIOMetadataNode international = new IIOMetadataNode("iTXt");
    text.forEach(
        (keyword, value) -> {
          check(keyword, value);
          boolean isLatin = isLatin(value);
          IIOMetadataNode entry = new IIOMetadataNode(isLatin ? "tEXtEntry" : "iTXtEntry");
          entry.setAttribute("keyword", keyword);
          if (isLatin) {
            entry.setAttribute("value", value);
            latin.appendChild(entry);
          } else {
            entry.setAttribute("compressionFlag", "FALSE");
            entry.setAttribute("compressionMethod", "0");
            entry.setAttribute("languageTag", "");
            entry.setAttribute("translatedKeyword", "");
            entry.setAttribute("text", value);
            international.appendChild(entry);
          }
        });
    IIOMetadataNode root = new IIOMetadataNode(TREE);
    if (latin.hasChildNodes()) {
      root.appendChild(latin);
    }
    if (international.hasChildNodes()) {
      root.appendChild(international);
    }
    return root;
  }

  /** Of the control characters {@code tEXt} allows only the line feed. */
  private static boolean isLatin(String text) {
    return ISO_8859_1.newEncoder().canEncode(text)
        && text.chars().noneMatch(c -> Character.isISOControl(c) && c != '\n');
  }

  private static void check(String keyword, String value) {
    if (!keyword.matches("[!-~](?:[ -~]{0,77}[!-~])?") || keyword.contains("  ")) {
      throw new IllegalArgumentException(
          "PNG keyword '" + keyword + "': expected 1 to 79 ASCII characters, no outer spaces");
    }
    if (value.indexOf('\0') >= 0) {
      throw new IllegalArgumentException("PNG text '" + keyword + "' holds a NUL character");
    }
  }

  // ---------------------------------------------------------------- reading

  /**
   * The text chunks of the PNG {@code file}, keyword to text; empty where it has none.
   *
   * @throws IOException where it is no PNG or damaged, or its texts unfold to more than 16 MiB
   */
  public static Map<String, String> read(byte[] file) throws IOException {
    if (!Signature.begins(file, PngChunks.SIGNATURE)) {
      throw new IOException("it does not begin as a PNG");
    }
    Map<String, String> text = new LinkedHashMap<>();
    int left = MAX_TEXT;
    for (PngChunks.Chunk chunk : PngChunks.of(file)) {
      if (chunk.type().matches("tEXt|zTXt|iTXt")) {
        String value = value(chunk, left);
        left -= value.length();
        text.put(keyword(chunk), value);
      }
    }
    return text;
  }

  /** What stands before the first zero of a text chunk. */
  static String keyword(PngChunks.Chunk chunk) {
    byte[] data = chunk.data();
    return new String(data, 0, end(data, 0), ISO_8859_1);
  }

  /**
   * The text of a text chunk.
   *
   * @throws IOException where it is damaged or unfolds to more than {@code limit} bytes
   */
  static String value(PngChunks.Chunk chunk, int limit) throws IOException {
    byte[] data = chunk.data();
    int at = end(data, 0) + 1;
    switch (chunk.type()) {
      case "tEXt":
        return text(data, at, false, ISO_8859_1, limit);
      case "zTXt": // one byte of method
        return text(data, at + 1, true, ISO_8859_1, limit);
      default: // iTXt: compressed?, method, language, translated keyword
        boolean compressed = at < data.length && data[at] != 0;
        at = end(data, at + 2) + 1;
        return text(data, end(data, at) + 1, compressed, UTF_8, limit);
    }
  }

  private static String text(byte[] data, int from, boolean compressed, Charset charset, int limit)
      throws IOException {
    if (from > data.length) {
      return "";
    }
    if (compressed) {
      return new String(PngChunks.inflate(data, from, limit), charset);
    }
    return new String(data, from, data.length - from, charset);
  }

  /** Where the next zero is, or the end. */
  private static int end(byte[] data, int from) {
    int at = from;
    while (at < data.length && data[at] != 0) {
      at++;
    }
    return at;
  }
}
