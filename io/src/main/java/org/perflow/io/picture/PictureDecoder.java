package org.perflow.io.picture;

import java.awt.Color;
import java.awt.Dimension;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.util.Map;

/** Picture files to pixels. Thread-safe. */
public final class PictureDecoder {
  /**
   * No picture may have more pixels: its memory is at most some 12 bytes a pixel while it is read.
   */
  public static final int MAX_PIXELS = 1 << 26;

  /** Up to here a file may be as small as it likes: one colour compresses to nothing. */
  private static final int FREE_PIXELS = 1 << 23;

  /** JPEG and lossy WebP cannot hold more in a byte, and nothing but one colour does elsewhere. */
  private static final int PIXELS_PER_BYTE = 2048;

  private static final Map<String, String> NOT_READ =
      Map.of(
          "????ftypavif", "AVIF",
          "????ftypheic", "HEIC",
          "????ftypheix", "HEIC",
          "????ftypmif1", "HEIF",
          "\u00ff\n", "JPEG XL",
          "\0\0\0\fJXL ", "JPEG XL",
          "8BPS", "Photoshop",
          "\0\0\u0001\0", "ICO",
          "\0\0\0\fjP  ", "JPEG 2000");

  private PictureDecoder() {}

  /**
   * Width and height of the picture in {@code file}, upright, by its header alone.
   *
   * @throws IOException saying what is wrong with the header, without the file's name
   */
  public static Dimension size(byte[] file) throws IOException {
    PictureFormat format =
        PictureFormat.of(file).orElseThrow(() -> new IOException(noPicture(file)));
    try {
      EncodedPicture picture = format.open(file);
      checkSize(picture, file.length);
      return Orientation.turns(picture.orientation())
          ? new Dimension(picture.height(), picture.width())
          : new Dimension(picture.width(), picture.height());
    } catch (RuntimeException e) { // an index beyond the end of a header that is cut off
      throw new IOException("damaged picture (" + e.getMessage() + ")", e);
    }
  }

  /**
   * The picture in {@code file}, upright, in 8-bit sRGB ({@link BufferedImage#TYPE_INT_RGB}), with
   * what is transparent laid on {@code ground}.
   *
   * @throws IOException saying what is wrong with the file, without its name
   */
  public static BufferedImage decode(byte[] file, Color ground) throws IOException {
    PictureFormat format =
        PictureFormat.of(file).orElseThrow(() -> new IOException(noPicture(file)));
    try {
      EncodedPicture picture = format.open(file);
      checkSize(picture, file.length);
      BufferedImage stored = picture.pixels().decode();
      BufferedImage rgb = Colours.onGround(stored, picture.profile(), ground);
      return Orientation.upright(rgb, picture.orientation());
    } catch (RuntimeException e) { // an index beyond the end of a header that is cut off
      throw new IOException("damaged picture (" + e.getMessage() + ")", e);
    }
  }

  private static void checkSize(EncodedPicture picture, int bytes) throws IOException {
    int width = picture.width();
    int height = picture.height();
    long pixels = (long) width * height;
    if (width < 1 || height < 1) {
      throw new IOException("damaged picture (%d x %d pixels)".formatted(width, height));
    }
    if (pixels > MAX_PIXELS) {
      throw new IOException(
          "%d pixels (%d x %d), expected at most %d; make it smaller"
              .formatted(pixels, width, height, MAX_PIXELS));
    }
    if (pixels > Math.max(FREE_PIXELS, (long) PIXELS_PER_BYTE * bytes)) {
      throw new IOException(
          "%d pixels (%d x %d) cannot be in its %d bytes; it is cut off or made to fill the memory"
              .formatted(pixels, width, height, bytes));
    }
  }

  private static String noPicture(byte[] file) {
    String read = "no picture (PNG, JPEG, WebP, GIF, BMP or TIFF) in its " + file.length + " bytes";
    return NOT_READ.entrySet().stream()
        .filter(known -> Signature.begins(file, known.getKey()))
        .findFirst()
        .map(known -> known.getValue() + " is not read; convert it to PNG")
        .orElse(read);
  }
}
