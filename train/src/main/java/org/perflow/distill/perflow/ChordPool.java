package org.perflow.distill.perflow;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.perflow.flow.Conditioning;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Examples;

/**
 * The newest chords of the teacher, oldest replaced first. The times at which one chord is used
 * resemble each other; drawn from a pool they fall into different batches, which then hold many
 * captions and noises instead of a few many times over. Owns its native memory. One thread.
 */
final class ChordPool implements AutoCloseable {
  private final Tensor start; // [N, C, h, w]
  private final Tensor end; // [N, C, h, w]
  private final Conditioning condition; // N rows
  private final Tensor window; // [N] int64, 1 (cleanest) to K
  private final Tensor added; // [1] int64, chords ever added

  private ChordPool(long size, long[] latent, Conditioning caption) {
    try (Scope scope = Scope.open()) {
      start = scope.release(Tensor.zeros(DType.F32, with(latent, size)));
      end = scope.release(Tensor.zeros(DType.F32, with(latent, size)));
      condition = caption.each(x -> scope.release(Tensor.zeros(x.dtype(), with(x.shape(), size))));
      window = scope.release(Tensor.zeros(DType.I64, size));
      added = scope.release(Tensor.zeros(DType.I64, 1));
    }
  }

  private static long[] with(long[] shape, long first) {
    long[] copy = shape.clone();
    copy[0] = first;
    return copy;
  }

  /** An empty pool for chords of that data. */
  static ChordPool of(Examples data, int size) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(0)) {
      long[] latent = data.latents(new long[] {0}, rng).shape();
      return new ChordPool(size, latent, data.nullCondition());
    }
  }

  /** Chords drawn, and the window of each. */
  @SuppressWarnings("ArrayRecordComponent") // passed on, never compared
  record Batch(PerflowObjective.Chords chords, int[] windows) {}

  boolean isEmpty() {
    return added.toLongArray()[0] == 0;
  }

  /** Takes copies. */
  void add(PerflowObjective.Chords chords, int[] windows) {
    long before = added.toLongArray()[0];
    long size = window.size(0);
    for (int i = 0; i < windows.length; i++) {
      try (Scope scope = Scope.open()) {
        long place = (before + i) % size;
        start.narrow(0, place, 1).copyInPlace(chords.start().narrow(0, i, 1));
        end.narrow(0, place, 1).copyInPlace(chords.end().narrow(0, i, 1));
        condition.narrow(place, 1).with(chords.condition().narrow(i, 1), Tensor::copyInPlace);
        window.narrow(0, place, 1).copyInPlace(Tensor.of(new long[] {windows[i]}));
      }
    }
    added.copyInPlace(Tensor.of(new long[] {before + windows.length}));
  }

  /** {@code rows} chords, each equally likely, in the caller's scope. */
  Batch draw(int rows, Rng rng) {
    long filled = Math.min(added.toLongArray()[0], window.size(0));
    Tensor which = Tensor.randint(rng, filled, rows);
    var chords =
        new PerflowObjective.Chords(
            start.indexSelect(0, which),
            end.indexSelect(0, which),
            condition.each(x -> x.indexSelect(0, which)));
    int[] windows =
        Arrays.stream(window.indexSelect(0, which).toLongArray())
            .mapToInt(Math::toIntExact)
            .toArray();
    return new Batch(chords, windows);
  }

  /** All of it, for checkpoints. */
  Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put("chords.start", start);
    state.put("chords.end", end);
    state.put("chords.condition", condition.text());
    if (condition.added() != null) {
      state.put("chords.pooled", condition.added().textEmbeds());
      state.put("chords.sizes", condition.added().timeIds());
    }
    state.put("chords.window", window);
    state.put("chords.added", added);
    return state;
  }

  @Override
  public void close() {
    state().values().forEach(Tensor::close);
  }
}
