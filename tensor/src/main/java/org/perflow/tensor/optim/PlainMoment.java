package org.perflow.tensor.optim;

import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Rounding;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** One number a weight: float32, or bfloat16. */
final class PlainMoment implements Moment {
  private final Tensor values; // [total]
  private final @Nullable Rng rounding; // null to the nearest

  /**
   * Zeros, as many as {@code like} has elements, on its device.
   *
   * @param rounding for bfloat16 that is rounded by chance; stays the caller's
   */
  PlainMoment(DType type, Tensor like, @Nullable Rng rounding) {
    this.rounding = rounding;
    try (Scope scope = Scope.open()) {
      values = scope.release(Tensor.zeros(type, like.device(), like.numel()));
    }
  }

  /** Of float32 it is the memory itself. */
  @Override
  public Tensor read(long from, long count) {
    return values.narrow(0, from, count).to(DType.F32);
  }

  @Override
  public void write(long from, Tensor piece) {
    if (values.dtype() != DType.F32) {
      values
          .narrow(0, from, piece.numel())
          .copyInPlace(rounding == null ? piece : Rounding.stochastic(piece, rounding));
    }
  }

  @Override
  public Map<String, Tensor> state() {
    return Map.of("", values);
  }

  @Override
  public void close() {
    values.close();
  }
}
