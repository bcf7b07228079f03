package org.perflow.distill;

import org.perflow.tensor.Tensor;

/** How a loss measures the difference of prediction and target. */
public enum Distance {
  /** mean d². */
  L2,
  /** mean(√(d² + c²) − c): L2 near zero, L1 far from it. */
  PSEUDO_HUBER;

  /**
   * A scalar.
   *
   * @param difference [B, ...]
   * @param c of the pseudo-Huber distance
   */
  public Tensor of(Tensor difference, double c) {
    Tensor squares = difference.square();
    return this == L2 ? squares.mean() : squares.add(c * c).sqrt().sub(c).mean();
  }
}
