package org.perflow.io;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.ImageTypeSpecifier;
import javax.imageio.ImageWriter;
import javax.imageio.metadata.IIOMetadata;
import javax.imageio.metadata.IIOMetadataNode;
import javax.imageio.stream.FileImageInputStream;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.w3c.dom.NodeList;

/**
 * PNG files with text chunks (https://www.w3.org/TR/png/#11textinfo): {@code tEXt} where Latin-1
 * holds the text, for the sake of old readers, else {@code iTXt}.
 */
final class PngText {
  private static final String TREE = "javax_imageio_png_1.0";

  private PngText() {}

  static void write(Path file, BufferedImage image, Map<String, String> text) throws IOException {
    ImageWriter writer = ImageIO.getImageWritersByFormatName("png").next();
    try {
      IIOMetadata metadata =
          writer.getDefaultImageMetadata(ImageTypeSpecifier.createFromRenderedImage(image), null);
      metadata.mergeTree(TREE, tree(text));
      AtomicFiles.write(
          file,
          out -> {
            try (var stream = new MemoryCacheImageOutputStream(out)) {
              writer.setOutput(stream);
              writer.write(null, new IIOImage(image, null, metadata), null);
            }
          });
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
          boolean isLatin = StandardCharsets.ISO_8859_1.newEncoder().canEncode(value);
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

  private static void check(String keyword, String value) {
    if (!keyword.matches("[!-~](?:[ -~]{0,77}[!-~])?") || keyword.contains("  ")) {
      throw new IllegalArgumentException(
          "PNG keyword '" + keyword + "': expected 1 to 79 ASCII characters, no outer spaces");
    }
    if (value.indexOf('\0') >= 0) {
      throw new IllegalArgumentException("PNG text '" + keyword + "' holds a NUL character");
    }
  }

  static Map<String, String> read(Path file) throws IOException {
    ImageReader reader = ImageIO.getImageReadersByFormatName("png").next();
    try (var in = new FileImageInputStream(file.toFile())) {
      reader.setInput(in);
      Map<String, String> text = new LinkedHashMap<>();
      var root = (IIOMetadataNode) reader.getImageMetadata(0).getAsTree(TREE);
      collect(root.getElementsByTagName("tEXtEntry"), "value", text);
      collect(root.getElementsByTagName("zTXtEntry"), "text", text);
      collect(root.getElementsByTagName("iTXtEntry"), "text", text);
      return text;
    } catch (IOException | RuntimeException e) {
      throw new FormatException(file + ": no readable PNG (" + e.getMessage() + ")", e);
    } finally {
      reader.dispose();
    }
  }

  private static void collect(NodeList entries, String attribute, Map<String, String> into) {
    for (int i = 0; i < entries.getLength(); i++) {
      var entry = (IIOMetadataNode) entries.item(i);
      into.put(entry.getAttribute("keyword"), entry.getAttribute(attribute));
    }
  }
}
