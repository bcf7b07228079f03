package org.perflow.tensor.optim;

import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * What losses are multiplied by before their backward pass in float16, whose gradients would else
 * vanish below 6·10⁻⁸ (Micikevicius et al., arXiv 1710.03740, section 3.2). It follows what
 * happens, as {@code torch.amp.GradScaler} does with its defaults: from 65536 it doubles after 2000
 * updates in a row without an overflow, and halves at each one, whose update is left out.
 *
 * <p>Whether gradients overflowed is read in every update, so the host waits for the device there,
 * as it does in PyTorch; bfloat16 needs none of this. Not thread-safe. Owns its native memory.
 */
public final class LossScale implements AutoCloseable {
  private static final double FIRST = 65536;
  private static final double GROWTH = 2;
  private static final double BACKOFF = 0.5;
  private static final int INTERVAL = 2000;

  /** Below this the loss itself overflows, and no scale will help. */
  private static final double LEAST = 1.0 / 65536;

  private final Tensor state; // [2] float64: scale, updates since it last changed

  public LossScale() {
    try (Scope scope = Scope.open()) {
      state = scope.release(Tensor.of(new double[] {FIRST, 0}));
    }
  }

  /** The factor now. */
  public double factor() {
    return state.toDoubleArray()[0];
  }

  /** Whether it has come down so far that training cannot go on. */
  public boolean isExhausted() {
    return factor() < LEAST;
  }

  /**
   * Divides gradients by the factor, and changes that for the next update.
   *
   * @return whether they are finite; where not, the update is to be left out
   */
  public boolean unscale(FlatParameters parameters) {
    double[] now = state.toDoubleArray();
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      boolean finite = parameters.gradients().isFinite();
      if (finite) {
        parameters.gradients().mulInPlace(1 / now[0]);
      }
      double passed = finite ? now[1] + 1 : 0;
      double factor = finite ? now[0] : now[0] * BACKOFF;
      if (passed == INTERVAL) {
        passed = 0;
        factor *= GROWTH;
      }
      state.copyInPlace(Tensor.of(new double[] {factor, passed}));
      return finite;
    }
  }

  /** For checkpoints, [2] float64. */
  public Tensor state() {
    return state;
  }

  @Override
  public void close() {
    state.close();
  }
}
