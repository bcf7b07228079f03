package org.perflow.flow;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.TimeWindows.Window;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * The teacher's probability-flow ODE through one window by deterministic steps: Φ of the paper's
 * algorithm 1, which makes PeRFlow's training targets; and from any level to any cleaner one. Every
 * row of a batch may be in a window of its own. Nodes are evenly spaced indices; each step ends
 * where the next begins and the last ends exactly on the window's end. What a multistep method
 * remembers begins with each call: the first step is DDIM's. Scalars are never rounded to the dtype
 * of the latents. Records no gradients. Immutable; thread-safe as far as the teacher is.
 */
public final class PfOdeSolver {
  private final NoiseSchedule schedule;
  private final PredictionType prediction;
  private final TeacherSolver method;
  private final int steps;
  private final boolean officialStride;

  /** By DDIM: {@link #PfOdeSolver(NoiseSchedule, PredictionType, TeacherSolver, int)}. */
  public PfOdeSolver(NoiseSchedule schedule, PredictionType prediction, int evaluations) {
    this(schedule, prediction, TeacherSolver.DDIM, evaluations);
  }

  /**
   * A solver.
   *
   * @param schedule the teacher's
   * @param prediction what the teacher predicts
   * @param method how a step is made
   * @param evaluations S, network evaluations a window (8 and 10 are the paper's): as many steps,
   *     or half as many with {@link TeacherSolver#HEUN}, so that methods with one S cost the same
   * @throws IllegalArgumentException if that is no whole number of steps
   */
  public PfOdeSolver(
      NoiseSchedule schedule, PredictionType prediction, TeacherSolver method, int evaluations) {
    this(schedule, prediction, method, method.steps(evaluations), false);
  }

  private PfOdeSolver(
      NoiseSchedule schedule,
      PredictionType prediction,
      TeacherSolver method,
      int steps,
      boolean officialStride) {
    this.schedule = schedule;
    this.prediction = prediction;
    this.method = method;
    this.steps = steps;
    this.officialStride = officialStride;
  }

  /**
   * The official code's arithmetic, for comparisons with it only: each step goes down by ⌊T/(K·S)⌋,
   * which leaves the nodes where that is no integer and may miss the window's end.
   */
  public PfOdeSolver withOfficialStride() {
    if (method != TeacherSolver.DDIM) {
      throw new IllegalStateException("the official stride is for DDIM only, not for " + method);
    }
    return new PfOdeSolver(schedule, prediction, method, steps, true);
  }

  /** Steps a window: S, or S/2 for Heun. */
  public int steps() {
    return steps;
  }

  /**
   * Indices that steps start at: node j of n is T − 1 + T (t − 1) at t = t_s − j Δ/n, rounded half
   * to even.
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
    return shifted(nodes, window.endIndex(schedule.size()));
  }

  private static int[] shifted(int[] nodes, int end) {
    int[] next = Arrays.copyOfRange(nodes, 1, nodes.length + 1);
    next[nodes.length - 1] = end;
    return next;
  }

  /**
   * From each row's window start to its window end.
   *
   * @param teacher called S times with the whole batch; bind guidance into it
   * @param zStart states at the window starts, [B, ...]
   * @param windows one a row; they may differ
   * @return states at the window ends, float32 [B, ...], owned by the caller's scope
   * @throws IllegalArgumentException where a row starts at pure noise and the teacher predicts ε
   */
  public Tensor solve(Denoiser teacher, Tensor zStart, List<Window> windows) {
    List<int[]> nodes = windows.stream().map(this::nodes).toList();
    return walk(teacher, zStart, nodes, windows.stream().map(this::destinations).toList());
  }

  /** As {@link #solve(Denoiser, Tensor, List)}, in the windows that the times {@code t} lie in. */
  public Tensor solve(Denoiser teacher, Tensor zStart, TimeWindows windows, double[] t) {
    List<Window> each = new ArrayList<>();
    for (double time : t) {
      each.add(windows.at(time));
    }
    return solve(teacher, zStart, each);
  }

  /**
   * From each row's own noise level to a cleaner one of its own, by steps over evenly spaced
   * indices.
   *
   * @param teacher called S times with the whole batch; bind guidance into it
   * @param z states at {@code from}, [B, ...]
   * @param from index of the noise level of each row, 0 ... T − 1
   * @param to where each row goes, below its {@code from}; −1 is the final level
   * @return states there, float32 [B, ...], owned by the caller's scope
   * @throws IllegalArgumentException where a row has fewer levels to go down than there are steps,
   *     or starts at pure noise and the teacher predicts ε
   */
  public Tensor solve(Denoiser teacher, Tensor z, int[] from, int[] to) {
    if (from.length != to.length) {
      throw new IllegalArgumentException(from.length + " starts and " + to.length + " ends");
    }
    List<int[]> nodes = new ArrayList<>();
    List<int[]> destinations = new ArrayList<>();
    for (int i = 0; i < from.length; i++) {
      int[] row = between(from[i], to[i]);
      nodes.add(row);
      destinations.add(shifted(row, to[i]));
    }
    return walk(teacher, z, nodes, destinations);
  }

  private int[] between(int from, int to) {
    if (from >= schedule.size() || to < -1 || from - to < steps) {
      throw new IllegalArgumentException(
          String.format(
              "cannot go from noise level %d to %d in %d steps: levels are %d (noise) to -1 (the"
                  + " final one), and a step goes down by one or more",
              from, to, steps, schedule.size() - 1));
    }
    double width = (double) (from - to) / steps;
    return IntStream.range(0, steps).map(j -> (int) Math.rint(from - j * width)).toArray();
  }

  // ---------------------------------------------------------------- steps

  /** From the first nodes to the last destinations, both [row][step]. */
  private Tensor walk(
      Denoiser teacher, Tensor zStart, List<int[]> nodes, List<int[]> destinations) {
    if (zStart.size(0) != nodes.size()) {
      throw new IllegalArgumentException(nodes.size() + " windows for the batch " + zStart);
    }
    nodes.forEach(row -> prediction.requireSignal(schedule, row[0]));
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      State state = new State(zStart, null);
      for (int j = 0; j < steps; j++) {
        int[] before = column(nodes, Math.max(j - 1, 0));
        state = step(teacher, state, before, column(nodes, j), column(destinations, j));
      }
      return scope.keep(state.z());
    }
  }

  /** Where the rows are, and the answer that led there, which multistep methods remember. */
  private record State(Tensor z, @Nullable Tensor answer) {}

  private State step(Denoiser teacher, State state, int[] before, int[] from, int[] to) {
    try (Scope scope = Scope.open()) {
      Tensor z = state.z();
      Tensor output = teacher.predict(z, timesteps(from));
      Tensor next = rows(from.length, i -> prediction.ddim(schedule, from[i], to[i]), z, output);
      if (method == TeacherSolver.DDIM) {
        return new State(scope.keep(next), null);
      }
      Tensor answer = answer(from, z, output);
      double[] k = new double[from.length];
      Arrays.setAll(k, i -> method.correction(schedule, before[i], from[i], to[i]));
      boolean heun = method == TeacherSolver.HEUN;
      Tensor older = heun ? answer : state.answer();
      if (older != null && Arrays.stream(k).anyMatch(x -> x != 0)) {
        Tensor newer = heun ? answerAtEnd(teacher, next, k, from, to) : answer;
        next = next.add(rows(k.length, i -> new Affine(k[i], -k[i]), newer, older));
      }
      return new State(scope.keep(next), scope.keep(answer));
    }
  }

  /** Where a row is not corrected it may be clean data, of which the teacher is not asked. */
  private Tensor answerAtEnd(Denoiser teacher, Tensor z, double[] k, int[] from, int[] to) {
    int[] index = new int[k.length];
    Arrays.setAll(index, i -> k[i] == 0 ? from[i] : to[i]);
    return answer(index, z, teacher.predict(z, timesteps(index)));
  }

  private Tensor answer(int[] index, Tensor z, Tensor output) {
    return rows(index.length, i -> method.answer(schedule, prediction, index[i]), z, output);
  }

  private static Tensor rows(int count, IntFunction<Affine> each, Tensor x, Tensor y) {
    return Affine.apply(IntStream.range(0, count).mapToObj(each).toArray(Affine[]::new), x, y);
  }

  /** What the teacher is told; the final level, where it is not clean data, is that of index 0. */
  private static Tensor timesteps(int[] index) {
    return Tensor.generate(index.length, i -> Math.max(index[i], 0));
  }

  private static int[] column(List<int[]> rows, int j) {
    return rows.stream().mapToInt(row -> row[j]).toArray();
  }
}
