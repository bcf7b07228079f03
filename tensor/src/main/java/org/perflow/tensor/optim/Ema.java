package org.perflow.tensor.optim;

import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Exponential moving average of the weights with the warm-up of diffusers' EMAModel: decay at
 * update n (from 0) is min(maxDecay, (1+n)/(10+n)). Not thread-safe. Owns its buffer.
 */
public final class Ema implements AutoCloseable {
  private static final long PIECE = 1 << 24;

  private final FlatParameters parameters;
  private final double maxDecay;
  private final Tensor values;
  private long updates;

  /** Starts as a copy of the weights. */
  public Ema(FlatParameters parameters, double maxDecay) {
    if (maxDecay < 0 || maxDecay >= 1) {
      throw new IllegalArgumentException("EMA decay must lie in [0, 1), got " + maxDecay);
    }
    this.parameters = parameters;
    this.maxDecay = maxDecay;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      values = scope.release(parameters.values().copy());
    }
  }

  /** Moves towards the weights as they are now. */
  public void update() {
    double decay = Math.min(maxDecay, (1.0 + updates) / (10.0 + updates));
    updates++;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      values.lerpInPlace(parameters.values(), 1 - decay);
    }
  }

  /** What is done with other weights in the model for a while. */
  @FunctionalInterface
  public interface Action<E extends Exception> {
    void run() throws E;
  }

  /** Runs {@code action} with the averages in the place of the weights, then puts these back. */
  public <E extends Exception> void applied(Action<E> action) throws E {
    swap();
    try {
      action.run();
    } finally {
      swap();
    }
  }

  private void swap() {
    long total = values.size(0);
    for (long from = 0; from < total; from += PIECE) { // a third copy of all would be large
      long count = Math.min(PIECE, total - from);
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        Tensor weights = parameters.values().narrow(0, from, count);
        Tensor averages = values.narrow(0, from, count);
        Tensor before = weights.copy();
        weights.copyInPlace(averages);
        averages.copyInPlace(before);
      }
    }
  }

  /** The averages, [total], laid out as the parameters. */
  public Tensor values() {
    return values;
  }

  /** Updates made. */
  public long updates() {
    return updates;
  }

  /** Goes on after that many updates; the values are filled by the caller. */
  public void updates(long updates) {
    this.updates = updates;
  }

  @Override
  public void close() {
    values.close();
  }
}
