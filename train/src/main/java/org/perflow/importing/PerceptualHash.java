package org.perflow.importing;

import java.awt.image.BufferedImage;
import java.util.Arrays;
import org.perflow.io.Images;

/**
 * 64 bits that hardly change when a picture is scaled, compressed or slightly recoloured (Zauner,
 * "Implementation and benchmarking of perceptual image hash functions", 2010, section 3.2.1): of
 * the luminance at 32 × 32 pixels the 8 × 8 lowest frequencies of the cosine transform, each 1
 * where it is above their median. The mean is left out of the median. Pictures are near duplicates
 * up to {@link #NEAR} bits apart; others differ in 32 on average.
 */
final class PerceptualHash {
  /** Most bits that near duplicates differ in. */
  static final int NEAR = 4;

  private static final int SIDE = 32;
  private static final int LOW = 8;
  private static final double LEAST = 1e-6; // of one colour everything is 0 but for rounding
  private static final double[][] COSINES = cosines(); // [frequency, pixel]

  private PerceptualHash() {}

  private static double[][] cosines() {
    double[][] cosines = new double[LOW][SIDE];
    for (int k = 0; k < LOW; k++) {
      for (int x = 0; x < SIDE; x++) {
        cosines[k][x] = Math.cos(Math.PI * k * (2 * x + 1) / (2.0 * SIDE));
      }
    }
    return cosines;
  }

  static long of(BufferedImage picture) {
    double[][] light = luminance(Images.resize(picture, SIDE, SIDE)); // [y, x]
    double[] low = new double[LOW * LOW];
    for (int v = 0; v < LOW; v++) {
      for (int u = 0; u < LOW; u++) {
        for (int y = 0; y < SIDE; y++) {
          for (int x = 0; x < SIDE; x++) {
            low[v * LOW + u] += light[y][x] * COSINES[v][y] * COSINES[u][x];
          }
        }
      }
    }
    double[] sorted = Arrays.copyOfRange(low, 1, low.length);
    Arrays.sort(sorted);
    double median = sorted[sorted.length / 2];
    long bits = 0;
    for (double value : low) {
      bits = bits << 1 | (value > median + LEAST ? 1 : 0);
    }
    return bits;
  }

  /** Of ITU-R BT.601, as Pillow's mode "L". */
  private static double[][] luminance(BufferedImage picture) {
    double[][] light = new double[SIDE][SIDE];
    for (int y = 0; y < SIDE; y++) {
      for (int x = 0; x < SIDE; x++) {
        int pixel = picture.getRGB(x, y);
        light[y][x] =
            0.299 * (pixel >> 16 & 0xFF) + 0.587 * (pixel >> 8 & 0xFF) + 0.114 * (pixel & 0xFF);
      }
    }
    return light;
  }
}
