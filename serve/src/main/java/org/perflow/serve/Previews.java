package org.perflow.serve;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.util.Arrays;
import java.util.Random;
import org.perflow.io.Images;
import org.perflow.models.AutoencoderKL;
import org.perflow.models.DiffusionModel;
import org.perflow.pipeline.VaeCodec;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * What latents show, at next to no cost: the colours of a small patch of each latent pixel are a
 * linear function of its channels. The function is fitted, by least squares, to what the model's
 * own encoder makes of pictures of plain shapes; one for each of several shares of noise, so that a
 * preview shows what can be told under the noise and not the noise. Thread-safe.
 */
final class Previews {
  private static final int POINTS = 1024; // latent pixels to fit to
  private static final int LEVELS = 16; // shares of noise, from 0 to all
  private static final double LEAST_NOISE = 1e-3;
  private static final int SHAPES = 12;

  private final int channels;
  private final int patch;
  private final double[][][] functions; // [LEVELS, channels + 1, 3 · patch²]

  private Previews(int channels, int patch, double[][][] functions) {
    this.channels = channels;
    this.patch = patch;
    this.functions = functions;
  }

  /** Fitted to the autoencoder of {@code model}. */
  static Previews of(DiffusionModel model, DType compute) {
    AutoencoderKL vae = model.vae();
    int channels = vae.config().latentChannels();
    int factor = vae.config().downsampling();
    int cells = model.unet().config().sampleSize();
    int patch = 1; // as fine as the channels can tell
    while (2 * patch <= factor && patch * patch <= channels) {
      patch *= 2;
    }
    double[][] squares = new double[channels + 1][channels + 1];
    double[][] products = new double[channels + 1][3 * patch * patch];
    Random random = new Random(0);
    VaeCodec codec = new VaeCodec(vae, compute, false);
    for (int seen = 0; seen < POINTS; seen += cells * cells) {
      BufferedImage picture = shapes(cells * factor, random);
      float[] latents;
      try (Scope scope = Scope.open()) {
        Tensor mean = Tensor.zeros(DType.F32, 1, channels, cells, cells); // no noise
        latents = codec.encode(Images.toTensor(picture).unsqueeze(0), mean).toFloatArray();
      }
      BufferedImage small = Images.resize(picture, cells * patch, cells * patch);
      for (int cell = 0; cell < cells * cells; cell++) {
        double[] x = input(latents, channels, cells * cells, cell);
        double[] y = colours(small, cell % cells, cell / cells, patch);
        for (int i = 0; i <= channels; i++) {
          for (int j = 0; j <= channels; j++) {
            squares[i][j] += x[i] * x[j];
          }
          for (int k = 0; k < y.length; k++) {
            products[i][k] += x[i] * y[k];
          }
        }
      }
    }
    double[][][] functions = new double[LEVELS][][];
    for (int level = 0; level < LEVELS; level++) {
      functions[level] = fit(squares, products, (double) level / LEVELS);
    }
    return new Previews(channels, patch, functions);
  }

  /**
   * For latents of unit variance, the share {@code noise} of it noise: z = √(1 − noise) x + √noise
   * n. The last input is 1, without noise.
   */
  private static double[][] fit(double[][] squares, double[][] products, double noise) {
    int constant = squares.length - 1;
    double points = squares[constant][constant];
    double scale = Math.sqrt(1 - noise);
    double[][] a = Arrays.stream(squares).map(double[]::clone).toArray(double[][]::new);
    double[][] b = Arrays.stream(products).map(double[]::clone).toArray(double[][]::new);
    for (int i = 0; i < constant; i++) {
      for (int j = 0; j < constant; j++) {
        a[i][j] *= scale * scale;
      }
      a[i][i] += points * (noise + LEAST_NOISE);
      a[i][constant] *= scale;
      a[constant][i] *= scale;
      for (int k = 0; k < b[i].length; k++) {
        b[i][k] *= scale;
      }
    }
    return solve(a, b);
  }

  /**
   * What row {@code row} of latents [B, C, h, w] shows, {@code noise} of whose variance is noise.
   */
  BufferedImage of(Tensor latents, int row, double noise) {
    double[][] function = functions[(int) Math.round(Math.min(noise, 1) * (LEVELS - 1))];
    int height = (int) latents.size(2);
    int width = (int) latents.size(3);
    float[] values;
    try (Scope scope = Scope.open()) {
      values = latents.narrow(0, row, 1).to(DType.F32).contiguous().toFloatArray();
    }
    BufferedImage image =
        new BufferedImage(width * patch, height * patch, BufferedImage.TYPE_INT_RGB);
    for (int cell = 0; cell < width * height; cell++) {
      double[] x = input(values, channels, width * height, cell);
      for (int at = 0; at < patch * patch; at++) {
        int rgb = 0;
        for (int c = 0; c < 3; c++) {
          double value = 0;
          for (int i = 0; i <= channels; i++) {
            value += x[i] * function[i][3 * at + c];
          }
          rgb = rgb << 8 | (int) Math.round(Math.max(0, Math.min(255, value)));
        }
        image.setRGB(cell % width * patch + at % patch, cell / width * patch + at / patch, rgb);
      }
    }
    return image;
  }

  /** The channels of a latent pixel, and 1. */
  private static double[] input(float[] latents, int channels, int plane, int cell) {
    double[] x = new double[channels + 1];
    for (int c = 0; c < channels; c++) {
      x[c] = latents[c * plane + cell];
    }
    x[channels] = 1;
    return x;
  }

  private static double[] colours(BufferedImage image, int column, int row, int patch) {
    double[] y = new double[3 * patch * patch];
    for (int at = 0; at < patch * patch; at++) {
      int rgb = image.getRGB(column * patch + at % patch, row * patch + at / patch);
      for (int c = 0; c < 3; c++) {
        y[3 * at + c] = rgb >> (16 - 8 * c) & 0xFF;
      }
    }
    return y;
  }

  private static BufferedImage shapes(int side, Random random) {
    BufferedImage image = new BufferedImage(side, side, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    graphics.setColor(random.nextBoolean() ? Color.WHITE : colour(random));
    graphics.fillRect(0, 0, side, side);
    for (int i = 0; i < SHAPES; i++) {
      graphics.setColor(colour(random));
      int width = 1 + random.nextInt(side / 2);
      int height = 1 + random.nextInt(side / 2);
      int x = random.nextInt(side);
      int y = random.nextInt(side);
      if (random.nextBoolean()) {
        graphics.fillOval(x, y, width, height);
      } else {
        graphics.fillRect(x, y, width, height);
      }
    }
    graphics.dispose();
    return image;
  }

  private static Color colour(Random random) {
    return new Color(random.nextInt(1 << 24));
  }

  /** X of A X = B for a symmetric, positive definite A, by Cholesky. */
  private static double[][] solve(double[][] a, double[][] b) {
    int n = a.length;
    double[][] l = new double[n][n];
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        double sum = a[i][j];
        for (int k = 0; k < j; k++) {
          sum -= l[i][k] * l[j][k];
        }
        l[i][j] = i == j ? Math.sqrt(sum) : sum / l[j][j];
      }
    }
    double[][] x = Arrays.stream(b).map(double[]::clone).toArray(double[][]::new);
    for (int column = 0; column < b[0].length; column++) {
      for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++) {
          x[i][column] -= l[i][k] * x[k][column];
        }
        x[i][column] /= l[i][i];
      }
      for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++) {
          x[i][column] -= l[k][i] * x[k][column];
        }
        x[i][column] /= l[i][i];
      }
    }
    return x;
  }
}
