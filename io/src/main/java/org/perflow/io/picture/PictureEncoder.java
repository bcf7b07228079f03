package org.perflow.io.picture;

import com.luciad.imageio.webp.CompressionType;
import com.luciad.imageio.webp.WebPImageWriterSpi;
import com.luciad.imageio.webp.WebPWriteParam;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Locale;
import java.util.Map;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.MemoryCacheImageOutputStream;

/** Pixels to picture files in memory. Thread-safe. */
public final class PictureEncoder {
  private PictureEncoder() {}

  /**
   * {@code image} as a PNG, JPEG or WebP file.
   *
   * @param quality of JPEG and WebP, 1 to 100
   * @param text keyword to text, in the text chunks of a PNG; the other formats hold none
   * @throws IllegalArgumentException for another format or quality
   */
  public static byte[] encode(
      BufferedImage image, PictureFormat format, int quality, Map<String, String> text)
      throws IOException {
    if (quality < 1 || quality > 100) {
      throw new IllegalArgumentException("quality is " + quality + "; want 1 to 100");
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    switch (format) {
      case PNG -> PngText.write(out, image, text);
      case JPEG -> {
        ImageWriter writer = ImageIO.getImageWritersByFormatName("jpeg").next();
        ImageWriteParam settings = writer.getDefaultWriteParam();
        settings.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
        settings.setCompressionQuality(quality / 100f);
        write(writer, settings, image, out);
      }
      case WEBP -> {
        WebPWriteParam settings = new WebPWriteParam(Locale.ROOT);
        settings.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
        settings.setCompressionType(CompressionType.Lossy);
        settings.setCompressionQuality(quality / 100f);
        write(new WebPImageWriterSpi().createWriterInstance(null), settings, image, out);
      }
      default ->
          throw new IllegalArgumentException(format + " is not written; want PNG, JPEG or WEBP");
    }
    return out.toByteArray();
  }

  private static void write(
      ImageWriter writer, ImageWriteParam settings, BufferedImage image, ByteArrayOutputStream out)
      throws IOException {
    try (var stream = new MemoryCacheImageOutputStream(out)) {
      writer.setOutput(stream);
      writer.write(null, new IIOImage(image, null, null), settings);
    } finally {
      writer.dispose();
    }
  }
}
