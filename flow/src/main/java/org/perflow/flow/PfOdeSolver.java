package org.perflow.flow;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.perflow.flow.TimeWindows.Window;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * The teacher's probability-flow ODE through one window by S deterministic DDIM steps: Φ of the
 * paper's algorithm 1, which makes PeRFlow's training targets. Every row of a batch may be in a
 * window of its own. Nodes are evenly spaced indices; each step ends where the next begins and the
 * last ends exactly on the window's end. Scalars are never rounded to the dtype of the latents.
 * Records no gradients. Immutable; thread-safe as far as the teacher is.
 */
public final class PfOdeSolver {
  private final NoiseSchedule schedule;
  private final PredictionType prediction;
  private final int steps;
  private final boolean officialStride;

  /**
   * A solver.
   *
   * @param schedule the teacher's
   * @param prediction what the teacher predicts
   * @param steps S, network evaluations a window (8 and 10 are the paper's)
   */
  public PfOdeSolver(NoiseSchedule schedule, PredictionType prediction, int steps) {
    this(schedule, prediction, steps, false);
  }

  private PfOdeSolver(
      NoiseSchedule schedule, PredictionType prediction, int steps, boolean officialStride) {
    if (steps < 1) {
      throw new IllegalArgumentException("got " + steps + " solver steps; want at least 1");
    }
    this.schedule = schedule;
    this.prediction = prediction;
    this.steps = steps;
    this.officialStride = officialStride;
  }

  /**
   * The official code's arithmetic, for comparisons with it only: each step goes down by ⌊T/(K·S)⌋,
   * which leaves the nodes where that is no integer and may miss the window's end.
   */
  public PfOdeSolver withOfficialStride() {
    return new PfOdeSolver(schedule, prediction, steps, true);
  }

  /** S. */
  public int steps() {
    return steps;
  }

  /**
   * Indices that the teacher is evaluated at: node j of S is T − 1 + T (t − 1) at t = t_s − j Δ/S,
   * rounded half to even.
   *
   * @throws IllegalArgumentException where the window has fewer indices than steps
   */
  public int[] nodes(Window window) {
    int size = schedule.size();
    if ((long) steps * window.count() > size) {
      throw new IllegalArgumentException(
          String.format(
              "%d solver steps in each of %d windows need more than the %d noise levels there are;"
                  + " at most %d steps",
              steps, window.count(), size, size / window.count()));
    }
    int[] nodes = new int[steps];
    for (int j = 0; j < steps; j++) {
      double t = window.start() - j * window.width() / steps;
      nodes[j] = (int) Math.rint(size - 1 + (t - 1) * size);
    }
    return nodes;
  }

  /** Where each step ends; −1 is the final level. */
  int[] destinations(Window window) {
    int[] nodes = nodes(window);
    if (officialStride) {
      int stride = schedule.size() / (window.count() * steps);
      return Arrays.stream(nodes).map(node -> node - stride).toArray();
    }
    int[] next = Arrays.copyOfRange(nodes, 1, steps + 1);
    next[steps - 1] = window.endIndex(schedule.size());
    return next;
  }

  /**
   * From each row's window start to its window end.
   *
   * @param teacher called S times with the whole batch; bind guidance into it
   * @param zStart states at the window starts, [B, ...]
   * @param windows one a row; they may differ
   * @return states at the window ends, float32 [B, ...], owned by the caller's scope
   */
  public Tensor solve(Denoiser teacher, Tensor zStart, List<Window> windows) {
    if (zStart.size(0) != windows.size()) {
      throw new IllegalArgumentException(windows.size() + " windows for the batch " + zStart);
    }
    List<int[]> nodes = windows.stream().map(this::nodes).toList();
    List<int[]> destinations = windows.stream().map(this::destinations).toList();
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor z = zStart;
      for (int j = 0; j < steps; j++) {
        z = step(teacher, z, column(nodes, j), column(destinations, j));
      }
      return scope.keep(z);
    }
  }

  private Tensor step(Denoiser teacher, Tensor z, int[] from, int[] to) {
    try (Scope scope = Scope.open()) {
      float[] timesteps = new float[from.length];
      Affine[] each = new Affine[from.length];
      for (int i = 0; i < from.length; i++) {
        timesteps[i] = from[i];
        each[i] = prediction.ddim(schedule, from[i], to[i]);
      }
      Tensor output = teacher.predict(z, Tensor.of(timesteps));
      return scope.keep(Affine.apply(each, z, output));
    }
  }

  private static int[] column(List<int[]> rows, int j) {
    return rows.stream().mapToInt(row -> row[j]).toArray();
  }

  /** As {@link #solve(Denoiser, Tensor, List)}, in the windows that the times {@code t} lie in. */
  public Tensor solve(Denoiser teacher, Tensor zStart, TimeWindows windows, double[] t) {
    List<Window> each = new ArrayList<>();
    for (double time : t) {
      each.add(windows.at(time));
    }
    return solve(teacher, zStart, each);
  }
}
