package org.perflow.io.picture;

import java.awt.image.BufferedImage;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * How a picture has to be turned to be looked at: cameras store what the sensor saw and how it was
 * held. As Pillow's {@code ImageOps.exif_transpose}.
 */
final class Orientation {
  private static final int TAG = 274;
  private static final Pattern XMP = Pattern.compile("tiff:Orientation(?:=\"|>)([0-9])");

  private Orientation() {}

  /**
   * What the EXIF data say (a TIFF file without pixels), else the XMP ones (XML), else 1.
   *
   * @param exif may begin with "Exif" and two zeros; damaged ones say nothing
   */
  static int of(byte @Nullable [] exif, byte @Nullable [] xmp) {
    if (exif != null) {
      try {
        long value = TiffTags.ofExif(exif).value(TAG, 0);
        if (value != 0) {
          return (int) Math.min(value, Integer.MAX_VALUE);
        }
      } catch (RuntimeException e) { // damaged
      }
    }
    if (xmp != null) {
      Matcher matcher = XMP.matcher(new String(xmp, StandardCharsets.ISO_8859_1));
      return matcher.find() ? Integer.parseInt(matcher.group(1)) : 1;
    }
    return 1;
  }

  /** Whether width and height are exchanged. */
  static boolean turns(int orientation) {
    return orientation > 4 && orientation <= 8;
  }

  /** {@code image} turned and mirrored as {@code orientation} says; as it is for other values. */
  static BufferedImage upright(BufferedImage image, int orientation) {
    if (orientation < 2 || orientation > 8) {
      return image;
    }
    int width = image.getWidth();
    int height = image.getHeight();
    boolean turned = turns(orientation);
    boolean fromRight = List.of(2, 3, 7, 8).contains(orientation);
    boolean fromBelow = List.of(3, 4, 6, 7).contains(orientation);
    var result =
        new BufferedImage(
            turned ? height : width, turned ? width : height, BufferedImage.TYPE_INT_RGB);
    int[] line = new int[result.getWidth()];
    for (int y = 0; y < result.getHeight(); y++) {
      for (int x = 0; x < line.length; x++) {
        int column = turned ? y : x;
        int row = turned ? x : y;
        line[x] =
            image.getRGB(
                fromRight ? width - 1 - column : column, fromBelow ? height - 1 - row : row);
      }
      result.getRaster().setDataElements(0, y, line.length, 1, line);
    }
    return result;
  }
}
