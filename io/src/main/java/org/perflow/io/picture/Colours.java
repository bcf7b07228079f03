package org.perflow.io.picture;

import java.awt.Color;
import java.awt.color.CMMException;
import java.awt.color.ColorSpace;
import java.awt.color.ICC_ColorSpace;
import java.awt.color.ICC_Profile;
import java.awt.image.BufferedImage;
import java.awt.image.ColorConvertOp;
import java.awt.image.ColorModel;
import java.awt.image.ComponentColorModel;
import java.awt.image.DataBuffer;
import java.awt.image.Raster;
import java.awt.image.WritableRaster;
import org.jspecify.annotations.Nullable;

/**
 * Pictures of any kind to 8-bit sRGB without alpha. Grey and colours without a profile are taken
 * for sRGB values, as Pillow and every browser do. (Java's own drawing takes grey for linear light,
 * and would brighten it.) Of 16 bits the upper 8 count.
 */
public final class Colours {
  private Colours() {}

  /** {@code image} as {@link BufferedImage#TYPE_INT_RGB}, with {@code ground} where it is clear. */
  public static BufferedImage onGround(BufferedImage image, Color ground) {
    return onGround(image, null, ground);
  }

  /** The same, its colours being those of an ICC profile; one that is damaged is ignored. */
  static BufferedImage onGround(BufferedImage image, byte @Nullable [] profile, Color ground) {
    if (image.getType() == BufferedImage.TYPE_INT_RGB && profile == null) {
      return image;
    }
    int width = image.getWidth();
    Rows rows = new Rows(image);
    ColorConvertOp toSrgb = toSrgb(profileOf(image, profile), rows.bands);
    var result = new BufferedImage(width, image.getHeight(), BufferedImage.TYPE_INT_RGB);
    int[] pixels = new int[width];
    int[] back = {ground.getRed(), ground.getGreen(), ground.getBlue()};
    for (int y = 0; y < image.getHeight(); y++) {
      rows.read(y);
      byte[] colours = toSrgb == null ? rows.colours : convert(toSrgb, rows.colours, rows.bands);
      int bands = toSrgb == null ? rows.bands : 3;
      for (int x = 0; x < width; x++) {
        int opacity = rows.opacity[x] & 0xFF;
        int pixel = 0;
        for (int c = 0; c < 3; c++) {
          int colour = colours[x * bands + (bands == 1 ? 0 : c)] & 0xFF;
          pixel = pixel << 8 | (opacity == 255 ? colour : blend(colour, back[c], opacity));
        }
        pixels[x] = pixel;
      }
      result.getRaster().setDataElements(0, y, width, 1, pixels);
    }
    return result;
  }

  private static int blend(int colour, int back, int opacity) {
    return (colour * opacity + back * (255 - opacity) + 127) / 255;
  }

  // ---------------------------------------------------------------- samples

  /** An image row by row: 8 bits a colour, one band (grey) or three, and how opaque it is. */
  private static final class Rows {
    private final BufferedImage image;
    private final ColorModel model;
    private final int width;
    private final boolean samples; // read as they are stored, else as Java shows them
    private final int bands;
    private int @Nullable [] values; // as stored
    private final byte[] colours; // [W, bands]
    private final byte[] opacity; // [W]

    Rows(BufferedImage image) {
      this.image = image;
      this.model = image.getColorModel();
      this.width = image.getWidth();
      int type = model.getTransferType();
      int components = model.getNumColorComponents();
      this.samples =
          model instanceof ComponentColorModel
              && !model.isAlphaPremultiplied()
              && (type == DataBuffer.TYPE_BYTE || type == DataBuffer.TYPE_USHORT)
              && (components == 1 || components == 3);
      this.bands = samples ? components : 3;
      this.colours = new byte[width * bands];
      this.opacity = new byte[width];
    }

    void read(int y) {
      if (samples) {
        readSamples(y);
      } else {
        readShown(y);
      }
    }

    private void readSamples(int y) {
      values = image.getRaster().getPixels(0, y, width, 1, values);
      int stored = values.length / width;
      int bits = model.getComponentSize(0);
      for (int x = 0; x < width; x++) {
        for (int band = 0; band < bands; band++) {
          colours[x * bands + band] = eightBits(values[x * stored + band], bits);
        }
        opacity[x] = model.hasAlpha() ? eightBits(values[x * stored + bands], bits) : (byte) 255;
      }
    }

    private void readShown(int y) {
      values = image.getRGB(0, y, width, 1, values, 0, width);
      for (int x = 0; x < width; x++) {
        for (int band = 0; band < 3; band++) {
          colours[x * 3 + band] = (byte) (values[x] >> 16 - 8 * band);
        }
        opacity[x] = (byte) (values[x] >>> 24);
      }
    }

    private static byte eightBits(int value, int bits) {
      return (byte) (bits >= 8 ? value >> bits - 8 : value * 255 / ((1 << bits) - 1));
    }
  }

  // ---------------------------------------------------------------- profiles

  private static @Nullable ICC_Profile profileOf(BufferedImage image, byte @Nullable [] profile) {
    if (profile != null) {
      try {
        return ICC_Profile.getInstance(profile);
      } catch (IllegalArgumentException e) {
        return null; // damaged
      }
    }
    ColorSpace space = image.getColorModel().getColorSpace();
    boolean plain = space.isCS_sRGB() || space == ColorSpace.getInstance(ColorSpace.CS_GRAY);
    return !plain && space instanceof ICC_ColorSpace icc ? icc.getProfile() : null;
  }

  /** Null where there is nothing to do: no profile, or one of other colours, or one of sRGB. */
  private static @Nullable ColorConvertOp toSrgb(@Nullable ICC_Profile profile, int bands) {
    if (profile == null || profile.getNumComponents() != bands) {
      return null;
    }
    try {
      ICC_Profile srgb = ICC_Profile.getInstance(ColorSpace.CS_sRGB);
      var convert = new ColorConvertOp(new ICC_Profile[] {profile, srgb}, null);
      return changes(convert, bands) ? convert : null;
    } catch (CMMException | IllegalArgumentException e) {
      return null; // damaged
    }
  }

  /** Whether any of a few colours ends more than a rounding away. */
  private static boolean changes(ColorConvertOp convert, int bands) {
    int levels = 6; // 0, 51, ... 255
    int count = bands == 1 ? levels : levels * levels * levels;
    byte[] probe = new byte[count * bands];
    for (int i = 0; i < count; i++) {
      for (int band = 0, rest = i; band < bands; band++, rest /= levels) {
        probe[i * bands + band] = (byte) (rest % levels * 51);
      }
    }
    byte[] converted = convert(convert, probe, bands);
    for (int i = 0; i < converted.length; i++) {
      int before = probe[bands == 1 ? i / 3 : i] & 0xFF;
      if (Math.abs((converted[i] & 0xFF) - before) > 1) {
        return true;
      }
    }
    return false;
  }

  /** [N, bands] to [N, 3]. */
  private static byte[] convert(ColorConvertOp convert, byte[] colours, int bands) {
    int count = colours.length / bands;
    WritableRaster from = interleaved(count, bands);
    from.setDataElements(0, 0, count, 1, colours);
    WritableRaster to = convert.filter(from, interleaved(count, 3));
    return (byte[]) to.getDataElements(0, 0, count, 1, null);
  }

  private static WritableRaster interleaved(int count, int bands) {
    return Raster.createInterleavedRaster(DataBuffer.TYPE_BYTE, count, 1, bands, null);
  }
}
