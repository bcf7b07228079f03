package org.perflow.io;

import java.awt.Color;
import java.awt.Dimension;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleUnaryOperator;
import java.util.function.IntUnaryOperator;
import org.perflow.io.picture.Colours;
import org.perflow.io.picture.PictureDecoder;
import org.perflow.io.picture.PngText;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Pictures from bytes to tensors and back. Every picture here is 8-bit sRGB without alpha ({@link
 * BufferedImage#TYPE_INT_RGB}); pixels of tensors are in -1..1. Reads PNG, JPEG, WebP, GIF (of
 * animations the first frame), BMP and plain TIFF, upright and in their own colours, of at most
 * {@link PictureDecoder#MAX_PIXELS} pixels. All methods are thread-safe.
 */
public final class Images {
  private static final int GAP = 2;

  private Images() {}

  // ---------------------------------------------------------------- reading

  /**
   * The picture in {@code file}, with white where it is transparent.
   *
   * @throws IOException naming the file where it is no picture that can be read
   */
  public static BufferedImage read(Path file) throws IOException {
    return read(file, Color.WHITE);
  }

  /**
   * The same on another ground. Masks and the pictures that ControlNets follow stand on black:
   * where they are transparent nothing is marked.
   */
  public static BufferedImage read(Path file, Color ground) throws IOException {
    if (!Files.exists(file)) {
      throw new NoSuchFileException(file.toString(), null, "there is no such file");
    }
    return decode(Files.readAllBytes(file), file.toString(), ground);
  }

  /** The picture in {@code bytes} on white; errors say {@code name}. */
  public static BufferedImage decode(byte[] bytes, String name) throws IOException {
    return decode(bytes, name, Color.WHITE);
  }

  /** The same on another ground. */
  public static BufferedImage decode(byte[] bytes, String name, Color ground) throws IOException {
    try {
      return Reading.of(name, () -> PictureDecoder.decode(bytes, ground));
    } catch (FormatException e) {
      throw e;
    } catch (IOException e) {
      throw new FormatException(name + ": " + e.getMessage(), e);
    }
  }

  /** Width and height of the picture in {@code bytes}, by its header alone. */
  public static Dimension size(byte[] bytes, String name) throws IOException {
    try {
      return PictureDecoder.size(bytes);
    } catch (IOException e) {
      throw new FormatException(name + ": " + e.getMessage(), e);
    }
  }

  /** {@code image} without its transparency: {@code ground} shows through. */
  public static BufferedImage onGround(BufferedImage image, Color ground) {
    return Colours.onGround(image, ground);
  }

  // ---------------------------------------------------------------- tensors

  /** float32 [3, H, W] in -1..1, owned by the scope of the caller. */
  public static Tensor toTensor(BufferedImage image) {
    BufferedImage rgb = Colours.onGround(image, Color.WHITE);
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
    BufferedImage rgb = Colours.onGround(image, Color.WHITE);
    if (width == rgb.getWidth() && height == rgb.getHeight()) {
      return rgb;
    }
    float[][] across = filter(rgb.getWidth(), width, reach, kernel);
    float[][] down = filter(rgb.getHeight(), height, reach, kernel);
    int[][] narrowed = new int[rgb.getHeight()][]; // a row at a time: a whole copy may be 250 MB
    int[] row = new int[rgb.getWidth()];
    for (int y = 0; y < rgb.getHeight(); y++) {
      rgb.getRaster().getDataElements(0, y, row.length, 1, row);
      narrowed[y] = resizeLine(i -> row[i], across);
    }
    BufferedImage result = blank(width, height);
    for (int x = 0; x < width; x++) {
      int column = x;
      int[] resized = resizeLine(i -> narrowed[i][column], down);
      result.getRaster().setDataElements(x, 0, 1, height, resized);
    }
    return result;
  }

  /** A row or column of pixels at its new length; each colour rounded and held to 0..255. */
  private static int[] resizeLine(IntUnaryOperator pixels, float[][] filter) {
    int[] resized = new int[filter.length];
    for (int i = 0; i < resized.length; i++) {
      int first = (int) filter[i][0];
      float red = 0;
      float green = 0;
      float blue = 0;
      for (int k = 1; k < filter[i].length; k++) {
        int pixel = pixels.applyAsInt(first + k - 1);
        red += filter[i][k] * ((pixel >> 16) & 0xFF);
        green += filter[i][k] * ((pixel >> 8) & 0xFF);
        blue += filter[i][k] * (pixel & 0xFF);
      }
      resized[i] = level(red) << 16 | level(green) << 8 | level(blue);
    }
    return resized;
  }

  private static int level(float colour) {
    return Math.min(255, Math.max(0, Math.round(colour)));
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
    AtomicFiles.write(file, out -> PngText.write(out, image, text));
  }

  /** The text chunks of a PNG, keyword to text; empty where it has none. */
  public static Map<String, String> pngText(Path file) throws IOException {
    try {
      return PngText.read(Files.readAllBytes(file));
    } catch (IOException e) {
      throw new FormatException(file + ": no readable PNG (" + e.getMessage() + ")", e);
    }
  }
}
