package org.perflow.io.picture;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.MemoryCacheImageInputStream;
import org.jspecify.annotations.Nullable;

/**
 * A picture file whose header was read: what must be known before its pixels take memory, and what
 * the libraries that decode it do not tell.
 *
 * @param width of the whole canvas as stored, before it is turned upright
 * @param orientation as EXIF has it, 1 (upright) to 8; other values mean nothing
 * @param profile the ICC profile of the pixels, where the file has one that the decoder leaves
 *     alone
 */
@SuppressWarnings("ArrayRecordComponent") // passed on, never compared
record EncodedPicture(
    int width, int height, int orientation, byte @Nullable [] profile, Pixels pixels) {

  /** Decodes the whole canvas as stored: any kind of picture, with its transparency. */
  interface Pixels {
    BufferedImage decode() throws IOException;
  }

  /** Decodes {@code file} by the library that is registered for {@code format}. */
  static BufferedImage decode(String format, byte[] file) throws IOException {
    return decode(ImageIO.getImageReadersByFormatName(format).next(), file);
  }

  static BufferedImage decode(ImageReader reader, byte[] file) throws IOException {
    try (var in = new MemoryCacheImageInputStream(new ByteArrayInputStream(file))) {
      reader.setInput(in, true, true); // texts and other metadata stay unread
      reader.addIIOReadWarningListener((source, warning) -> refuse(warning));
      return reader.read(0);
    } catch (IOException | RuntimeException e) { // decoders throw anything on damaged input
      throw new IOException("damaged picture (" + reason(e) + ")", e);
    } finally {
      reader.dispose();
    }
  }

  /** libjpeg only warns where data are missing, and fills the rest of the picture with grey. */
  private static void refuse(String warning) {
    if (warning.contains("premature end")) {
      throw new IllegalStateException(warning);
    }
  }

  private static String reason(Exception e) {
    for (Throwable cause = e; cause != null; cause = cause.getCause()) {
      if (cause instanceof EOFException) {
        return "cut off";
      }
    }
    return e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
  }
}
