package org.perflow.tensor.optim;

/** How an optimiser keeps its two averages of the gradients, which is what it takes in memory. */
public enum Moments {
  /** Exact: 8 bytes a weight. */
  FLOAT32,
  /**
   * 4 bytes a weight. The second average moves by a thousandth at a time, less than a digit of
   * bfloat16, so it is rounded up or down by chance.
   */
  BFLOAT16,
  /** 2 bytes a weight: {@link BlockwiseMoment}. */
  INT8;

  /** Bytes that both averages of so many weights take. */
  public long bytes(long weights) {
    return switch (this) {
      case FLOAT32 -> 8 * weights;
      case BFLOAT16 -> 4 * weights;
      case INT8 -> 2 * (weights + 4 * (weights / BlockwiseMoment.BLOCK));
    };
  }
}
