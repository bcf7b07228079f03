package org.perflow.flow;

import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;

/**
 * The pair (a, b) of a·x + b·y. Every step and target of this package is one: with coefficients
 * worked out in double on the host, a tensor is touched once and nothing is lost to a low-precision
 * intermediate.
 *
 * @param a factor of x
 * @param b factor of y
 */
public record Affine(double a, double b) {

  /** a·x + b·y in x's dtype (y broadcasts against it); owned by the caller's scope. */
  public Tensor apply(Tensor x, Tensor y) {
    return x.mul(a).add(y.mul(b));
  }

  /**
   * Row i of the result is {@code each[i]} applied to row i of x and y, [B, ...], in float32
   * (float64 for closed forms, where x or y is). Gradients flow through.
   *
   * @throws IllegalArgumentException unless there is one pair a row
   */
  public static Tensor apply(Affine[] each, Tensor x, Tensor y) {
    if (x.size(0) != each.length || y.size(0) != each.length) {
      throw new IllegalArgumentException(
          each.length + " coefficients for batches of " + x + " and " + y + ": want one a row");
    }
    double[] a = new double[each.length];
    double[] b = new double[each.length];
    for (int i = 0; i < each.length; i++) {
      a[i] = each[i].a;
      b[i] = each[i].b;
    }
    return x.mul(perRow(a, x)).add(y.mul(perRow(b, y)));
  }

  /** [B, 1, 1, ...]; against a bf16 tensor of the same rank it promotes to float32. */
  private static Tensor perRow(double[] values, Tensor like) {
    DType type = like.dtype() == DType.F64 ? DType.F64 : DType.F32;
    return Tensor.of(values).to(type).to(like.device()).asRows(like.dim());
  }
}
