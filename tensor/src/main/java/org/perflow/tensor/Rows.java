package org.perflow.tensor;

import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.GradMode;
import org.jspecify.annotations.Nullable;

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
   * it does anyway. {@code part} is called once, by the caller's thread, where there is one row or
   * one thread, or where gradients are recorded without a {@link Tape} of the way SHARED. With such
   * a tape gradients may go to weights ({@link org.perflow.tensor.nn.Parameter}) and to what {@code
   * part} takes its rows of, and to nothing else. Thread-safe if {@code part} is.
   *
   * @param rows how many there are
   * @throws RuntimeException what {@code part} threw, once all shares have ended
   */
  public static Tensor apply(long rows, Part part) {
    int threads = Device.threads();
    int shares = (int) Math.min(rows, threads);
    Tape tape = Tape.recording(Tape.Way.SHARED);
    boolean alone = GradMode.is_enabled() && tape == null;
    if (shares <= 1 || alone || Thread.currentThread() instanceof Worker) {
      return part.of(UnaryOperator.identity());
    }
    List<Share> parts = new ArrayList<>();
    for (int i = 0; i < shares; i++) {
      long from = rows * i / shares;
      parts.add(new Share(from, rows * (i + 1) / shares - from, i == 0, tape != null));
    }
    Joined joined = null;
    try {
      sideBySide(parts, share -> share.forward(part));
      if (tape != null && parts.get(0).output().requiresGrad()) {
        joined = new Joined(parts, joined(parts).requiresGrad(true));
        tape.add(joined);
        return joined.output();
      }
      return joined(parts);
    } finally {
      if (joined == null) {
        parts.forEach(Share::close);
      }
    }
  }

  /**
   * The same of the rows of {@code batch}, [B, ...]. What is not on the CPU is shared out by its
   * device, so {@code part} is called once.
   */
  public static Tensor apply(Tensor batch, Part part) {
    return batch.device().isCpu() ? apply(batch.size(0), part) : part.of(UnaryOperator.identity());
  }

  /**
   * A weight as the share of this thread sees it: shares that run side by side sum up gradients on
   * their own, since the order in which they end would decide the last digits.
   */
  public static Tensor leaf(Tensor weight) {
    return Thread.currentThread() instanceof Worker worker && worker.share != null
        ? worker.share.leaf(weight)
        : weight;
  }

  private static Tensor joined(List<Share> parts) {
    try (NoGrad guard = NoGrad.enter()) {
      return Tensor.cat(0, parts.stream().map(Share::output).toList());
    }
  }

  private static void sideBySide(List<Share> shares, Consumer<Share> work) {
    int each = Device.threads() / shares.size();
    List<CompletableFuture<Void>> running = new ArrayList<>();
    try {
      for (Share share : shares) {
        running.add(
            CompletableFuture.runAsync(
                () -> {
                  Natives.ownThreads(each);
                  work.accept(share);
                },
                WORKERS));
      }
      CompletableFuture.allOf(running.toArray(CompletableFuture[]::new)).join(); // waits for all
    } catch (CompletionException e) {
      if (e.getCause() instanceof RuntimeException cause) {
        throw cause;
      }
      if (e.getCause() instanceof Error cause) {
        throw cause;
      }
      throw e;
    } finally {
      Natives.together();
    }
  }

  /** Some of the rows; what it holds belongs to nobody's scope. */
  private static final class Share implements AutoCloseable {
    private final long from;
    private final long count;
    private final boolean first; // whose gradients go to the weights themselves
    private final boolean recorded;
    private final Map<Tensor, Tensor> inputs = new LinkedHashMap<>(); // as leaves
    private final Map<Tensor, Tensor> weights = new IdentityHashMap<>();
    private @Nullable Tensor output;

    Share(long from, long count, boolean first, boolean recorded) {
      this.from = from;
      this.count = count;
      this.first = first;
      this.recorded = recorded;
    }

    void forward(Part part) {
      Worker worker = (Worker) Thread.currentThread();
      try (Scope scope = Scope.open()) {
        if (!recorded) {
          try (NoGrad guard = NoGrad.enter()) {
            output = scope.release(part.of(this::rows));
          }
          return;
        }
        worker.share = this;
        output = scope.release(part.of(x -> inputs.computeIfAbsent(x, this::input)));
      } finally {
        worker.share = null;
      }
    }

    Tensor rows(Tensor all) {
      return all.narrow(0, from, count);
    }

    private Tensor input(Tensor all) {
      return held(rows(all).detach().requiresGrad(all.requiresGrad()));
    }

    /** Outlives the scope that it was made in. */
    private static Tensor held(Tensor tensor) {
      tensor.raw.retainReference();
      return tensor;
    }

    Tensor leaf(Tensor weight) {
      return first || !weight.requiresGrad()
          ? weight
          : weights.computeIfAbsent(weight, all -> held(all.detach().requiresGrad(true)));
    }

    Tensor output() {
      if (output == null) {
        throw new IllegalStateException("a share of a batch has not ended");
      }
      return output;
    }

    @Override
    public void close() {
      inputs.values().forEach(Tensor::close);
      weights.values().forEach(Tensor::close);
      if (output != null) {
        output.close();
      }
    }
  }

  /** The shares of a batch on a tape. */
  private record Joined(List<Share> shares, Tensor output) implements Tape.Segment {
    @Override
    public List<Tensor> inputs() {
      return List.copyOf(shares.get(0).inputs.keySet());
    }

    @Override
    public List<@Nullable Tensor> differentiate() {
      Tensor gradient = output.grad();
      sideBySide(
          shares,
          share -> {
            try (Scope scope = Scope.open()) {
              Tape.backward(share.output(), share.rows(gradient), false);
            }
          });
      for (Share share : shares.subList(1, shares.size())) {
        share.weights.forEach(Joined::add);
      }
      List<@Nullable Tensor> gradients = new ArrayList<>();
      for (Tensor input : inputs()) {
        gradients.add(input.requiresGrad() ? gradient(input) : null);
      }
      return gradients;
    }

    private static void add(Tensor weight, Tensor leaf) {
      if (leaf.hasGrad()) {
        Tape.accumulate(weight, leaf.grad());
      }
    }

    private @Nullable Tensor gradient(Tensor input) {
      List<Tensor> parts = new ArrayList<>();
      for (Share share : shares) {
        Tensor leaf = share.inputs.get(input);
        if (leaf == null || !leaf.hasGrad()) {
          return null; // no share needs what one does not
        }
        parts.add(leaf.grad());
      }
      return Tensor.cat(0, parts);
    }

    @Override
    public void close() {
      shares.forEach(Share::close);
    }
  }

  /** Shares nothing out itself: all threads could be waiting for one that is free. */
  private static final class Worker extends Thread {
    private @Nullable Share share; // whose gradients are recorded now

    Worker(Runnable work) {
      super(work, "perflow-rows");
      setDaemon(true);
    }
  }
}
