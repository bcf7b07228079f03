package org.perflow.tensor;

import java.util.concurrent.atomic.LongAdder;

/**
 * Counts the floating-point operations of products of matrices, convolutions and attention in
 * {@link Functional}, where nearly all of a network's time goes: a multiplication and an addition
 * are two. For benchmarks: one count at a time in a process, over all its threads; backward passes
 * are not seen.
 */
public final class Flops {
  private static final LongAdder COUNT = new LongAdder();
  private static volatile boolean counting;

  private Flops() {}

  /** What {@code work} takes. */
  public static long of(Runnable work) {
    COUNT.reset();
    counting = true;
    try {
      work.run();
    } finally {
      counting = false;
    }
    return COUNT.sum();
  }

  /** {@code outputs} numbers, each a sum of {@code terms} products. */
  static void products(long outputs, long terms) {
    if (counting) {
      COUNT.add(2 * outputs * terms);
    }
  }

  /** The same on the CPU. */
  public static double limit(DType type) {
    return limit(type, Device.CPU);
  }

  /** Operations a second that a large product of matrices reaches there: the limit in practice. */
  public static double limit(DType type, Device device) {
    int side = device.isCpu() ? 2048 : 8192;
    double best = 0;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(0)) {
      Tensor a = Tensor.randn(rng, side, side).to(type).to(device);
      Tensor b = Tensor.randn(rng, side, side).to(type).to(device);
      for (int i = 0; i < 4; i++) {
        try (Scope step = Scope.open()) {
          device.synchronize();
          long start = System.nanoTime();
          a.matmul(b);
          device.synchronize();
          best = Math.max(best, 2.0 * side * side * side / (System.nanoTime() - start) * 1e9);
        }
      }
    }
    return best;
  }
}
