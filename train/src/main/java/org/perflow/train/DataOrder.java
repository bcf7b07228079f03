package org.perflow.train;

import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * The order in which examples are seen: every epoch a shuffle of its own that depends only on seed
 * and epoch, so that the number of examples drawn says all there is to resume. Not thread-safe.
 */
final class DataOrder {
  private static final long MIX = 0x9E3779B97F4A7C15L; // spreads neighbouring epochs over all seeds

  private final int count;
  private final long seed;
  private long position;
  private long epoch = -1;
  private long[] shuffled = {};

  DataOrder(int count, long seed) {
    if (count < 1) {
      throw new IllegalArgumentException("the data set is empty");
    }
    this.count = count;
    this.seed = seed;
  }

  long[] next(int examples) {
    long[] batch = new long[examples];
    for (int i = 0; i < examples; i++) {
      shuffle(position / count);
      batch[i] = shuffled[(int) (position % count)];
      position++;
    }
    return batch;
  }

  private void shuffle(long wanted) {
    if (wanted != epoch) {
      epoch = wanted;
      try (Scope scope = Scope.open();
          Rng rng = Rng.seeded(seed + epoch * MIX)) {
        shuffled = Tensor.randperm(rng, count).toLongArray();
      }
    }
  }

  /** Examples drawn since the beginning of the run. */
  long position() {
    return position;
  }

  void position(long position) {
    this.position = position;
  }
}
