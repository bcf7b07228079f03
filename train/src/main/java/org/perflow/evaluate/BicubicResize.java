package org.perflow.evaluate;

import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Resizes as Pillow's {@code resize(..., BICUBIC)} of float pictures (mode F), one colour at a
 * time: what clean-fid does (Parmar, Zhang, Zhu 2022, arXiv 2104.11222). When shrinking the filter
 * widens, so that nothing is skipped. No rounding to 256 levels, unlike {@link
 * org.perflow.io.Images#resize}; the cubic overshoots, and the result is held to [-1, 1].
 */
final class BicubicResize {
  private BicubicResize() {}

  /** pictures [B, 3, H, W] in [-1, 1] to [B, 3, height, width], float32; the same where it fits. */
  static Tensor resize(Tensor pictures, int height, int width) {
    if (pictures.size(2) == height && pictures.size(3) == width) {
      return pictures;
    }
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor across =
          filter((int) pictures.size(3), width).to(pictures.device()).transpose(0, 1); // [W, width]
      Tensor down = filter((int) pictures.size(2), height).to(pictures.device()); // [height, H]
      Tensor resized = down.matmul(pictures.to(DType.F32).matmul(across));
      return scope.keep(resized.clamp(-1, 1));
    }
  }

  /** Row i holds the weights of the source pixels in target pixel i, which add up to 1. */
  private static Tensor filter(int from, int to) {
    double scale = (double) from / to;
    double stretch = Math.max(1, scale);
    double[] weights = new double[to * from];
    for (int i = 0; i < to; i++) {
      double centre = (i + 0.5) * scale;
      int first = Math.max(0, (int) (centre - 2 * stretch + 0.5));
      int end = Math.min(from, (int) (centre + 2 * stretch + 0.5));
      double sum = 0;
      for (int k = first; k < end; k++) {
        weights[i * from + k] = cubic((k + 0.5 - centre) / stretch);
        sum += weights[i * from + k];
      }
      for (int k = first; k < end; k++) {
        weights[i * from + k] /= sum;
      }
    }
    return Tensor.of(weights, to, from).to(DType.F32);
  }

  /** Keys, "Cubic convolution interpolation" (1981), equation 15: a = -1/2. */
  private static double cubic(double distance) {
    double x = Math.abs(distance);
    if (x >= 2) {
      return 0;
    }
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : ((-0.5 * x + 2.5) * x - 4) * x + 2;
  }
}
