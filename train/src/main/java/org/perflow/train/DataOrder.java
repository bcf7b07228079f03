package org.perflow.train;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * The order in which examples are seen. A batch is of one group, whose turn comes as often as its
 * size wants it, the one that lags furthest behind first; within a group every epoch is a shuffle
 * of its own that depends only on seed and epoch, and a batch may reach into the next. So the
 * number of examples drawn says all there is to resume. Not thread-safe.
 */
final class DataOrder {
  private static final long MIX = 0x9E3779B97F4A7C15L; // spreads neighbouring epochs over all seeds
  private static final long GROUPS = 0xD1B54A32D192ED03L; // likewise of groups

  private final List<Shuffles> groups;
  private final int batch;
  private final double all; // examples of all groups
  private long batches;
  private long position;

  /** Of that many examples in one group. */
  DataOrder(int count, int batch, long seed) {
    this(List.of(range(count)), batch, seed);
  }

  /** Of groups of examples, in which one may stand several times. */
  DataOrder(List<long[]> groups, int batch, long seed) {
    this.groups =
        IntStream.range(0, groups.size())
            .mapToObj(i -> new Shuffles(groups.get(i), seed + i * GROUPS))
            .toList();
    this.batch = batch;
    this.all = groups.stream().mapToDouble(group -> group.length).sum();
    if (all < 1) {
      throw new IllegalArgumentException("the data set is empty");
    }
  }

  /** 0, 1, ... count - 1. */
  static long[] range(int count) {
    long[] examples = new long[count];
    Arrays.setAll(examples, i -> i);
    return examples;
  }

  /** A group over and over, each time in another order. */
  private static final class Shuffles {
    private final long[] examples;
    private final long seed;
    private long position;
    private long epoch = -1;
    private long[] shuffled = {};

    Shuffles(long[] examples, long seed) {
      this.examples = examples;
      this.seed = seed;
    }

    long next() {
      long wanted = position / examples.length;
      if (wanted != epoch) {
        epoch = wanted;
        try (Scope scope = Scope.open();
            Rng rng = Rng.seeded(seed + epoch * MIX)) {
          shuffled = Tensor.randperm(rng, examples.length).toLongArray();
        }
      }
      return examples[(int) shuffled[(int) (position++ % examples.length)]];
    }
  }

  /** The next batch. */
  long[] next() {
    Shuffles group = due();
    batches++;
    position += batch;
    long[] next = new long[batch];
    for (int i = 0; i < batch; i++) {
      next[i] = group.next();
    }
    return next;
  }

  /** The group that lags furthest behind what it should have had. */
  private Shuffles due() {
    Shuffles due = groups.get(0);
    double most = Double.NEGATIVE_INFINITY;
    for (Shuffles group : groups) {
      double share = group.examples.length / all;
      double lag = (batches + 1) * share - (double) group.position / batch;
      if (lag > most) {
        most = lag;
        due = group;
      }
    }
    return due;
  }

  /** How many groups are smaller than a batch, which they fill by being there several times. */
  int filled() {
    return (int) groups.stream().filter(group -> group.examples.length < batch).count();
  }

  /** How many groups there are. */
  int groups() {
    return groups.size();
  }

  /** Examples drawn since the beginning of the run. */
  long position() {
    return position;
  }

  void position(long drawn) {
    groups.forEach(group -> group.position = 0);
    batches = 0;
    while (batches < drawn / batch) {
      due().position += batch;
      batches++;
    }
    groups.get(0).position += drawn % batch; // of a run that had another batch
    position = drawn;
  }
}
