package org.perflow.io;

import com.twelvemonkeys.imageio.metadata.Directory;
import com.twelvemonkeys.imageio.metadata.Entry;
import com.twelvemonkeys.imageio.metadata.jpeg.JPEG;
import com.twelvemonkeys.imageio.metadata.jpeg.JPEGSegment;
import com.twelvemonkeys.imageio.metadata.jpeg.JPEGSegmentUtil;
import com.twelvemonkeys.imageio.metadata.tiff.TIFF;
import com.twelvemonkeys.imageio.metadata.tiff.TIFFReader;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.color.ColorSpace;
import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleUnaryOperator;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.MemoryCacheImageInputStream;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Pictures from bytes to tensors and back. Every picture here is 8-bit sRGB without alpha ({@link
 * BufferedImage#TYPE_INT_RGB}); pixels of tensors are in -1..1. Reads PNG, JPEG (CMYK too, turned
 * as its EXIF orientation says), WebP, GIF and BMP. All methods are thread-safe.
 */
public final class Images {
  private static final long MAX_PIXELS = 200_000_000; // a bomb of a few kB can claim 2^62
  private static final int GAP = 2;

  private Images() {}

  // ---------------------------------------------------------------- reading

  /**
   * The picture in {@code file}: alpha laid on white, grey and palette turned to RGB.
   *
   * @throws IOException naming the file where it is no picture that can be read
   */
  public static BufferedImage read(Path file) throws IOException {
    if (!Files.exists(file)) {
      throw new NoSuchFileException(file.toString(), null, "there is no such file");
    }
    return decode(Files.readAllBytes(file), file.toString());
  }

  /** The same from memory; errors say {@code name}. */
  public static BufferedImage decode(byte[] bytes, String name) throws IOException {
    try (var in = new MemoryCacheImageInputStream(new ByteArrayInputStream(bytes))) {
      Iterator<ImageReader> readers = ImageIO.getImageReaders(in);
      if (!readers.hasNext()) {
        throw new FormatException(name + ": " + noPicture(bytes));
      }
      ImageReader reader = readers.next();
      try {
        reader.setInput(in);
        long pixels = (long) reader.getWidth(0) * reader.getHeight(0);
        if (pixels > MAX_PIXELS) {
          throw new FormatException(
              name + ": " + pixels + " pixels, expected at most " + MAX_PIXELS);
        }
        return upright(toRgb(reader.read(0)), orientation(bytes));
      } finally {
        reader.dispose();
      }
    } catch (FormatException e) {
      throw e;
    } catch (IOException | RuntimeException e) { // decoders throw anything on damaged input
      throw new FormatException(name + ": " + explain(e), e);
    }
  }

  static boolean isWebp(byte[] bytes) { // RIFF, four bytes of length, WEBP
    return bytes.length >= 12
        && bytes[0] == 'R'
        && bytes[1] == 'I'
        && Arrays.equals(bytes, 8, 12, new byte[] {'W', 'E', 'B', 'P'}, 0, 4);
  }

  private static String noPicture(byte[] bytes) {
    return "no picture (PNG, JPEG, WebP, GIF or BMP) in its " + bytes.length + " bytes";
  }

  private static String explain(Exception e) {
    return "damaged picture (" + (e.getMessage() == null ? e : e.getMessage()) + ")";
  }

  /**
   * EXIF's orientation, 1 (upright) to 8: cameras store what the sensor saw and how it was held.
   */
  private static int orientation(byte[] bytes) throws IOException {
    boolean jpeg = bytes.length > 2 && (bytes[0] & 0xFF) == 0xFF && (bytes[1] & 0xFF) == 0xD8;
    if (!jpeg) {
      return 1;
    }
    try (var in = new MemoryCacheImageInputStream(new ByteArrayInputStream(bytes))) {
      List<JPEGSegment> exif = JPEGSegmentUtil.readSegments(in, JPEG.APP1, "Exif");
      if (exif.isEmpty()) {
        return 1;
      }
      try (InputStream data = exif.get(0).data()) {
        data.skipNBytes(1); // pads "Exif" to six bytes
        var tags = (Directory) new TIFFReader().read(new MemoryCacheImageInputStream(data));
        Entry entry = tags.getEntryById(TIFF.TAG_ORIENTATION);
        return entry != null && entry.getValue() instanceof Number number ? number.intValue() : 1;
      }
    }
  }

  private static BufferedImage upright(BufferedImage image, int orientation) {
    if (orientation < 2 || orientation > 8) {
      return image;
    }
    int width = image.getWidth();
    int height = image.getHeight();
    boolean turned = orientation > 4;
    boolean fromRight = List.of(2, 3, 7, 8).contains(orientation);
    boolean fromBelow = List.of(3, 4, 6, 7).contains(orientation);
    BufferedImage result = turned ? blank(height, width) : blank(width, height);
    for (int y = 0; y < result.getHeight(); y++) {
      for (int x = 0; x < result.getWidth(); x++) {
        int column = turned ? y : x;
        int row = turned ? x : y;
        int fromX = fromRight ? width - 1 - column : column;
        result.setRGB(x, y, image.getRGB(fromX, fromBelow ? height - 1 - row : row));
      }
    }
    return result;
  }

  private static BufferedImage toRgb(BufferedImage source) {
    if (source.getType() == BufferedImage.TYPE_INT_RGB) {
      return source;
    }
    var colours = source.getColorModel();
    if (colours.getColorSpace().getType() == ColorSpace.TYPE_GRAY
        && !(colours instanceof IndexColorModel)) {
      return greyToRgb(source);
    }
    BufferedImage rgb = blank(source.getWidth(), source.getHeight());
    draw(rgb, source, 0, 0);
    return rgb;
  }

  /** By hand: Java takes grey for linear light and would brighten it, files mean sRGB values. */
  private static BufferedImage greyToRgb(BufferedImage source) {
    Raster raster = source.getRaster(); // bands: grey, maybe alpha
    boolean alpha = raster.getNumBands() > 1;
    float top = (1 << source.getColorModel().getComponentSize(0)) - 1;
    BufferedImage rgb = blank(source.getWidth(), source.getHeight());
    for (int y = 0; y < source.getHeight(); y++) {
      for (int x = 0; x < source.getWidth(); x++) {
        float grey = raster.getSample(x, y, 0) / top;
        float opacity = alpha ? raster.getSample(x, y, 1) / top : 1;
        int value = Math.round(255 * (grey * opacity + 1 - opacity));
        rgb.setRGB(x, y, value * 0x010101);
      }
    }
    return rgb;
  }

  // ---------------------------------------------------------------- tensors

  /** float32 [3, H, W] in -1..1, owned by the scope of the caller. */
  public static Tensor toTensor(BufferedImage image) {
    BufferedImage rgb = toRgb(image);
    int width = rgb.getWidth();
    int height = rgb.getHeight();
    int plane = width * height;
    int[] pixels = rgb.getRGB(0, 0, width, height, null, 0, width);
    float[] values = new float[3 * plane];
    for (int i = 0; i < plane; i++) {
      for (int c = 0; c < 3; c++) {
        values[c * plane + i] = ((pixels[i] >> (16 - 8 * c)) & 0xFF) / 255f * 2 - 1;
      }
    }
    return Tensor.of(values, 3, height, width);
  }

  /**
   * The pictures of [B, 3, H, W] in -1..1; values outside are held to that range, then rounded.
   *
   * @throws IllegalArgumentException for another shape, NaN or infinity
   */
  public static List<BufferedImage> fromTensor(Tensor pictures) {
    if (pictures.dim() != 4 || pictures.size(1) != 3) {
      throw new IllegalArgumentException("got " + pictures + ", expected [B, 3, H, W]");
    }
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      if (!pictures.isFinite()) {
        throw new IllegalArgumentException(
            "pictures " + pictures + " hold NaN or infinity: use float32 or bfloat16");
      }
      Tensor unit = pictures.detach().to(DType.F32).mul(0.5).add(0.5).clamp(0, 1);
      byte[] values = unit.mul(255).round().to(DType.U8).contiguous().toByteArray();
      int height = (int) pictures.size(2);
      int width = (int) pictures.size(3);
      int plane = width * height;
      List<BufferedImage> images = new ArrayList<>();
      for (int b = 0; b < pictures.size(0); b++) {
        int[] pixels = new int[plane];
        for (int i = 0; i < plane; i++) {
          for (int c = 0; c < 3; c++) {
            pixels[i] = pixels[i] << 8 | (values[(3 * b + c) * plane + i] & 0xFF);
          }
        }
        BufferedImage image = blank(width, height);
        image.setRGB(0, 0, width, height, pixels, 0, width);
        images.add(image);
      }
      return images;
    }
  }

  // ---------------------------------------------------------------- drawing

  /**
   * Stretched or shrunk to {@code width} × {@code height} by a bicubic filter that widens when
   * shrinking, so that nothing is skipped: as Pillow's {@code resize(..., BICUBIC)}.
   */
  public static BufferedImage resize(BufferedImage image, int width, int height) {
    return resize(image, width, height, 2, Images::cubic);
  }

  /** The same by Lanczos' filter of three lobes: as Pillow's {@code resize(..., LANCZOS)}. */
  public static BufferedImage resizeLanczos(BufferedImage image, int width, int height) {
    return resize(image, width, height, 3, Images::lanczos);
  }

  private static BufferedImage resize(
      BufferedImage image, int width, int height, int reach, DoubleUnaryOperator kernel) {
    BufferedImage rgb = toRgb(image);
    if (width == rgb.getWidth() && height == rgb.getHeight()) {
      return rgb;
    }
    int[] pixels = rgb.getRGB(0, 0, rgb.getWidth(), rgb.getHeight(), null, 0, rgb.getWidth());
    int[] resized = new int[width * height];
    for (int shift = 16; shift >= 0; shift -= 8) {
      int[] plane = new int[pixels.length]; // [H, W], one colour
      for (int i = 0; i < plane.length; i++) {
        plane[i] = (pixels[i] >> shift) & 0xFF;
      }
      float[][] across = filter(rgb.getWidth(), width, reach, kernel);
      float[][] down = filter(rgb.getHeight(), height, reach, kernel);
      int[] turned = resizeRows(plane, rgb.getWidth(), across); // [width, H]
      int[] done = resizeRows(turned, rgb.getHeight(), down); // [height, width]
      for (int i = 0; i < done.length; i++) {
        resized[i] |= done[i] << shift;
      }
    }
    BufferedImage result = blank(width, height);
    result.setRGB(0, 0, width, height, resized, 0, width);
    return result;
  }

  /** [rows, from] to [to, rows]: resized along a row, then transposed; rounded, as Pillow does. */
  private static int[] resizeRows(int[] plane, int from, float[][] filter) {
    int to = filter.length;
    int rows = plane.length / from;
    int[] turned = new int[to * rows];
    for (int x = 0; x < to; x++) {
      int first = (int) filter[x][0];
      for (int y = 0; y < rows; y++) {
        float sum = 0;
        for (int k = 1; k < filter[x].length; k++) {
          sum += filter[x][k] * plane[y * from + first + k - 1];
        }
        turned[x * rows + y] = Math.min(255, Math.max(0, Math.round(sum)));
      }
    }
    return turned;
  }

  /** Per target pixel: the first source pixel, then the weights of those from there on. */
  private static float[][] filter(int from, int to, int reach, DoubleUnaryOperator kernel) {
    double scale = (double) from / to;
    double stretch = Math.max(1, scale);
    float[][] filter = new float[to][];
    for (int i = 0; i < to; i++) {
      double centre = (i + 0.5) * scale;
      int first = Math.max(0, (int) Math.floor(centre - reach * stretch + 0.5));
      int end = Math.min(from, (int) Math.floor(centre + reach * stretch + 0.5));
      double[] weights = new double[end - first];
      double sum = 0;
      for (int k = 0; k < weights.length; k++) {
        weights[k] = kernel.applyAsDouble((first + k + 0.5 - centre) / stretch);
        sum += weights[k];
      }
      filter[i] = new float[weights.length + 1];
      filter[i][0] = first;
      for (int k = 0; k < weights.length; k++) {
        filter[i][k + 1] = (float) (weights[k] / sum);
      }
    }
    return filter;
  }

  /** Keys, "Cubic convolution interpolation" (1981), equation 15: a = -1/2. */
  private static double cubic(double distance) {
    double x = Math.abs(distance);
    if (x >= 2) {
      return 0;
    }
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : ((-0.5 * x + 2.5) * x - 4) * x + 2;
  }

  /** sinc(x) sinc(x/3) within three pixels. */
  private static double lanczos(double distance) {
    double x = Math.PI * Math.abs(distance);
    if (x >= 3 * Math.PI) {
      return 0;
    }
    return x == 0 ? 1 : 3 * Math.sin(x) * Math.sin(x / 3) / (x * x);
  }

  /** All pictures in rows of {@code columns}, on white, two pixels apart. */
  public static BufferedImage grid(List<BufferedImage> images, int columns) {
    if (images.isEmpty() || columns < 1) {
      throw new IllegalArgumentException(
          "a grid of " + images.size() + " pictures in " + columns + " columns");
    }
    int width = images.stream().mapToInt(BufferedImage::getWidth).max().orElseThrow();
    int height = images.stream().mapToInt(BufferedImage::getHeight).max().orElseThrow();
    int across = Math.min(columns, images.size());
    int down = (images.size() + columns - 1) / columns;
    BufferedImage grid = blank(across * (width + GAP) - GAP, down * (height + GAP) - GAP);
    for (int i = 0; i < images.size(); i++) {
      draw(grid, images.get(i), i % columns * (width + GAP), i / columns * (height + GAP));
    }
    return grid;
  }

  /** White. */
  private static BufferedImage blank(int width, int height) {
    BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    graphics.setColor(Color.WHITE);
    graphics.fillRect(0, 0, width, height);
    graphics.dispose();
    return image;
  }

  private static void draw(BufferedImage onto, BufferedImage image, int x, int y) {
    Graphics2D graphics = onto.createGraphics();
    graphics.drawImage(image, x, y, null);
    graphics.dispose();
  }

  // ---------------------------------------------------------------- PNG

  /**
   * Writes a PNG atomically, with {@code text} (keyword to text, any Unicode) in its text chunks.
   *
   * @throws IllegalArgumentException for a keyword that PNG does not allow
   */
  public static void writePng(Path file, BufferedImage image, Map<String, String> text)
      throws IOException {
    PngText.write(file, image, text);
  }

  /** The text chunks of a PNG, keyword to text; empty where it has none. */
  public static Map<String, String> pngText(Path file) throws IOException {
    return PngText.read(file);
  }
}
