package org.perflow.distill.matching;

import java.util.LinkedHashMap;
import java.util.Map;
import org.perflow.flow.Conditioning;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Examples;

/**
 * The newest (noise, what the teacher makes of it) pairs, oldest replaced first. Owns its native
 * memory. One thread.
 */
final class PairPool implements AutoCloseable {
  private final Tensor noise; // [N, C, h, w]
  private final Tensor sample; // [N, C, h, w]
  private final Conditioning condition; // N rows
  private final Tensor added; // [1] int64, pairs ever added

  /** Rows of each. */
  record Pairs(Tensor noise, Tensor sample, Conditioning condition) {}

  PairPool(Examples data, int size) {
    long[] latent = new long[data.shape().length + 1];
    System.arraycopy(data.shape(), 0, latent, 1, latent.length - 1);
    try (Scope scope = Scope.open()) {
      noise = scope.release(Tensor.zeros(DType.F32, with(latent, size)));
      sample = scope.release(Tensor.zeros(DType.F32, with(latent, size)));
      condition =
          data.nullCondition()
              .each(x -> scope.release(Tensor.zeros(x.dtype(), with(x.shape(), size))));
      added = scope.release(Tensor.zeros(DType.I64, 1));
    }
  }

  private static long[] with(long[] shape, long first) {
    long[] copy = shape.clone();
    copy[0] = first;
    return copy;
  }

  boolean isEmpty() {
    return added.toLongArray()[0] == 0;
  }

  /** Takes copies. */
  void add(Pairs pairs) {
    long before = added.toLongArray()[0];
    long size = noise.size(0);
    try (Scope scope = Scope.open()) {
      for (int i = 0; i < pairs.noise().size(0); i++) {
        long place = (before + i) % size;
        noise.narrow(0, place, 1).copyInPlace(pairs.noise().narrow(0, i, 1));
        sample.narrow(0, place, 1).copyInPlace(pairs.sample().narrow(0, i, 1));
        condition.narrow(place, 1).with(pairs.condition().narrow(i, 1), Tensor::copyInPlace);
      }
      added.copyInPlace(Tensor.of(new long[] {before + pairs.noise().size(0)}));
    }
  }

  /** {@code rows} of them, each equally likely, in the caller's scope. */
  Pairs draw(int rows, Rng rng) {
    long filled = Math.min(added.toLongArray()[0], noise.size(0));
    Tensor which = Tensor.randint(rng, filled, rows);
    return new Pairs(
        noise.indexSelect(0, which),
        sample.indexSelect(0, which),
        condition.each(x -> x.indexSelect(0, which)));
  }

  /** All of it, for checkpoints. */
  Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put("pairs.noise", noise);
    state.put("pairs.sample", sample);
    for (int i = 0; i < condition.tensors().size(); i++) {
      state.put("pairs.condition." + i, condition.tensors().get(i));
    }
    state.put("pairs.added", added);
    return state;
  }

  @Override
  public void close() {
    state().values().forEach(Tensor::close);
  }
}
