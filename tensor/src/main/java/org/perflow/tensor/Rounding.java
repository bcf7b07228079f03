package org.perflow.tensor;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Float32 in fewer bits, for what is kept long and need not be exact, such as an optimiser's
 * moments. Stateless and thread-safe.
 */
public final class Rounding {
  private static final int LOWER_HALF = 1 << 16; // bits that bfloat16 lacks

  private Rounding() {}

  /**
   * To one of the two nearest bfloat16 numbers, to the nearer one more often, so that the mean of
   * many roundings is {@code x}: sums of changes that are smaller than a last digit are not lost.
   *
   * @param x float32
   */
  public static Tensor stochastic(Tensor x, Rng rng) {
    Tensor below =
        new Tensor(torch.randint(LOWER_HALF, x.shape(), rng.option, Tensor.options(DType.I32)));
    var carried =
        x.raw
            .view(ScalarType.Int)
            .add(below.to(x.device()).raw)
            .bitwise_and(new Scalar(-LOWER_HALF));
    return new Tensor(carried.view(ScalarType.Float)).to(DType.BF16);
  }

  /**
   * The number of the nearest entry.
   *
   * @param x float32
   * @param between the middle of each pair of neighbours in the table, rising
   * @return uint8 of the shape of {@code x}
   */
  public static Tensor nearest(Tensor x, Tensor between) {
    return new Tensor(torch.bucketize(x.raw, between.raw, true, false)).to(DType.U8);
  }

  /** Largest magnitude of each row, [n, 1], of x [n, m]. */
  public static Tensor largest(Tensor x) {
    return new Tensor(x.raw.abs().amax(new long[] {1}, true));
  }
}
