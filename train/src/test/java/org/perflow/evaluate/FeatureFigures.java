package org.perflow.evaluate;

import org.perflow.tensor.Tensor;

/** Two small sets of features written out by formula, so that NumPy can build them too. */
public final class FeatureFigures {
  public static final int WIDTH = 4;

  private FeatureFigures() {}

  /** sin(0.7 i + 1.3 j²) + 0.1 j i / 12 for picture i and feature j. */
  public static Tensor sines(int count) {
    double[] values = new double[count * WIDTH];
    for (int i = 0; i < count; i++) {
      for (int j = 0; j < WIDTH; j++) {
        values[i * WIDTH + j] = Math.sin(0.7 * i + 1.3 * j * j) + 0.1 * j * i / 12;
      }
    }
    return Tensor.of(values, count, WIDTH);
  }

  /** 1.4 cos(0.9 i (j + 1)) + 0.3 sin i + 0.2 j. */
  public static Tensor cosines(int count) {
    double[] values = new double[count * WIDTH];
    for (int i = 0; i < count; i++) {
      for (int j = 0; j < WIDTH; j++) {
        values[i * WIDTH + j] = 1.4 * Math.cos(0.9 * i * (j + 1)) + 0.3 * Math.sin(i) + 0.2 * j;
      }
    }
    return Tensor.of(values, count, WIDTH);
  }
}
