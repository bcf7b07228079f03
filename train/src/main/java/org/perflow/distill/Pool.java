package org.perflow.distill;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.IntFunction;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * The newest rows of some named tensors, oldest replaced first: what a teacher has made, kept so
 * that one row can be used in several batches. Owns its native memory. One thread.
 */
public final class Pool implements Part {
  private final String name;
  private final int size;
  private final Map<String, Tensor> kept = new LinkedHashMap<>(); // [size, ...] each
  private final Tensor added; // [1] int64, rows ever added

  /**
   * An empty one.
   *
   * @param name of it in checkpoints
   * @param size rows that are kept
   * @param like a row of each tensor, [1, ...], for its type, shape and device
   */
  public Pool(String name, int size, Map<String, Tensor> like) {
    this.name = name;
    this.size = size;
    try (Scope scope = Scope.open()) {
      like.forEach(
          (key, row) -> {
            long[] shape = row.shape();
            shape[0] = size;
            kept.put(key, scope.release(Tensor.zeros(row.dtype(), row.device(), shape)));
          });
      added = scope.release(Tensor.zeros(DType.I64, 1));
    }
  }

  /**
   * Adds rows every so many steps, and more of them the first time: the first rows are few, and
   * would else be used far more often than those that follow.
   *
   * @param step number of the training step, from 0
   * @param rows to add
   * @param first how many at the first time
   * @param made makes that many rows; their native memory stays the scope's
   */
  public void refill(
      long step, int every, int rows, int first, IntFunction<Map<String, Tensor>> made) {
    if (step % every == 0) {
      try (Scope scope = Scope.open()) {
        add(made.apply(count() == 0 ? first : rows));
      }
    }
  }

  /** Takes copies of rows, [n, ...] of every name. */
  public void add(Map<String, Tensor> rows) {
    long before = count();
    long more = rows.get(kept.keySet().iterator().next()).size(0);
    for (long i = 0; i < more; i++) {
      long from = i;
      long to = (before + i) % size;
      try (Scope scope = Scope.open()) {
        kept.forEach(
            (key, all) -> all.narrow(0, to, 1).copyInPlace(rows.get(key).narrow(0, from, 1)));
      }
    }
    try (Scope scope = Scope.open()) {
      added.copyInPlace(Tensor.of(new long[] {before + more}));
    }
  }

  /** {@code rows} of those that are kept, each equally likely, in the caller's scope. */
  public Map<String, Tensor> draw(int rows, Rng rng) {
    Tensor which = Tensor.randint(rng, Math.min(count(), size), rows);
    Map<String, Tensor> drawn = new LinkedHashMap<>();
    kept.forEach((key, all) -> drawn.put(key, all.indexSelect(0, which.to(all.device()))));
    return drawn;
  }

  /** Rows ever added. */
  private long count() {
    return added.toLongArray()[0];
  }

  /** All of it: {@code <name>.<tensor>}, and {@code <name>.added}. */
  @Override
  public Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    kept.forEach((key, all) -> state.put(name + "." + key, all));
    state.put(name + ".added", added);
    return state;
  }

  @Override
  public void close() {
    state().values().forEach(Tensor::close);
  }
}
