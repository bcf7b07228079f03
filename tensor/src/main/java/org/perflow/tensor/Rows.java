package org.perflow.tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.GradMode;

/**
 * A batch whose rows do not know of each other, shared out among threads. Threads of one operation
 * wait for each other some hundred times in a pass of a network, and small operations gain little
 * by them; shares of a batch wait once.
 */
public final class Rows {
  /** Makes what becomes of a share of the batch, in the scope of the thread that calls it. */
  @FunctionalInterface
  public interface Part {
    /**
     * A tensor with a row for each of the share's.
     *
     * @param rows takes the share's rows out of any tensor that has all
     */
    Tensor of(UnaryOperator<Tensor> rows);
  }

  private static final ExecutorService WORKERS =
      Executors.newFixedThreadPool(
          Runtime.getRuntime().availableProcessors(), Worker::new); // no more, whoever calls

  private Rows() {}

  /**
   * What {@code part} makes of all rows, in order, owned by the caller's scope. Each thread that
   * one operation may use ({@link Device#threads}) gets an equal share; left-over threads go to the
   * operations of all. A row's result may differ in the last digits from that in another batch, as
   * it does anyway. Where gradients are recorded, or there is one row or one thread, {@code part}
   * is called once, by the caller's thread. Thread-safe if {@code part} is.
   *
   * @param rows how many there are
   * @throws RuntimeException what {@code part} threw, once all shares have ended
   */
  public static Tensor apply(long rows, Part part) {
    int threads = Device.threads();
    int shares = (int) Math.min(rows, threads);
    if (shares <= 1 || GradMode.is_enabled() || Thread.currentThread() instanceof Worker) {
      return part.of(UnaryOperator.identity());
    }
    int each = threads / shares;
    List<CompletableFuture<Tensor>> running = new ArrayList<>();
    Device.shareOut(each);
    try {
      for (int i = 0; i < shares; i++) {
        long from = rows * i / shares;
        long count = rows * (i + 1) / shares - from;
        running.add(CompletableFuture.supplyAsync(() -> share(part, from, count, each), WORKERS));
      }
      return joined(running);
    } finally {
      Device.together();
    }
  }

  /** Owned by nobody. */
  private static Tensor share(Part part, long from, long count, int threads) {
    Device.ownThreads(threads);
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return scope.release(part.of(x -> x.narrow(0, from, count)));
    }
  }

  private static Tensor joined(List<CompletableFuture<Tensor>> shares) {
    try {
      CompletableFuture.allOf(shares.toArray(CompletableFuture[]::new)).join(); // waits for all
      return Tensor.cat(0, shares.stream().map(CompletableFuture::join).toList());
    } catch (CompletionException e) {
      if (e.getCause() instanceof RuntimeException cause) {
        throw cause;
      }
      if (e.getCause() instanceof Error cause) {
        throw cause;
      }
      throw e;
    } finally {
      shares.stream()
          .filter(share -> !share.isCompletedExceptionally())
          .forEach(share -> share.join().close());
    }
  }

  /** Shares nothing out itself: all threads could be waiting for one that is free. */
  private static final class Worker extends Thread {
    Worker(Runnable work) {
      super(work, "perflow-rows");
      setDaemon(true);
    }
  }
}
