package org.perflow.distill.perflow;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Pool;
import org.perflow.distill.Task;
import org.perflow.distill.perflow.PerflowOptions.GuidanceMode;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.Network;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.TimeWindows.Window;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Examples;
import org.perflow.train.Objective.Step;

/**
 * Where {@link Chords} come from: all that is random in a step, and the teacher's ODE. Windows
 * start on noised data as in the paper, or on the teacher's own trajectory from noise, which gives
 * a chord in every window ({@code simulatedStarts}). The times at which one chord is used resemble
 * each other; drawn from a pool ({@code chordPool}) they fall into different batches, which then
 * hold many captions and noises instead of a few many times over. Owns the pool. One thread.
 */
final class ChordSource implements AutoCloseable {
  private static final int REFILL_EVERY = 8;

  /**
   * Everything random of some chords, one a row; times are {@code repeats} a chord, all chords
   * once, then all again.
   *
   * @param z0 data latents, float32 [n, C, h, w]
   * @param noise of their shape
   * @param t one time a row of the batch, in (0, 1]
   * @param condition the caption of every chord, n rows
   * @param keep whether it is kept (else the student sees the empty one)
   */
  @SuppressWarnings("ArrayRecordComponent")
  record Draw(Tensor z0, Tensor noise, double[] t, Conditioning condition, boolean[] keep) {}

  private final Examples data;
  private final Network teacher;
  private final PerflowOptions options;
  private final PfOdeSolver solver;
  private final @Nullable Pool pool;

  ChordSource(Task task, PerflowOptions options, PfOdeSolver solver) {
    data = task.data();
    teacher = task.teacher().net();
    this.options = options;
    this.solver = solver;
    pool = options.chordPool() == 0 ? null : emptyPool();
  }

  /** A batch of chords, in the caller's scope. */
  Chords next(PiecewiseFlow flow, Step step) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      int rows = step.examples().length;
      int repeats = options.drawsPerChord();
      Chords chords =
          pool == null
              ? solved(flow, draw(flow, step, rows, repeats), repeats)
              : pooled(pool, flow, step);
      return chords.each(scope::keep);
    }
  }

  // ---------------------------------------------------------------- the teacher's ODE

  /** The chords of a draw, each {@code repeats} times. */
  Chords solved(PiecewiseFlow flow, Draw draw, int repeats) {
    Conditioning dropped = draw.condition().keep(draw.keep(), data.nullCondition());
    Chords chords =
        options.simulatedStarts()
            ? simulated(flow.windows(), draw, dropped)
            : fromData(flow, draw, dropped);
    return chords.each(x -> Chords.repeated(x, repeats));
  }

  /** Starts on noised data, each row in the window of its time. */
  private Chords fromData(PiecewiseFlow flow, Draw draw, Conditioning dropped) {
    double[] t = Arrays.copyOf(draw.t(), (int) draw.z0().size(0));
    Tensor start = flow.start(draw.z0(), draw.noise(), t);
    Tensor end = solver.solve(guided(draw.condition(), dropped), start, flow.windows(), t);
    return new Chords(start, end, dropped, draw.t());
  }

  /** The whole trajectory of each noise: one chord in every window, noisiest first. */
  private Chords simulated(TimeWindows windows, Draw draw, Conditioning dropped) {
    Denoiser guided = guided(draw.condition(), dropped);
    int rows = (int) draw.noise().size(0);
    List<Tensor> starts = new ArrayList<>();
    List<Tensor> ends = new ArrayList<>();
    Tensor z = draw.noise();
    for (Window window : windows.noisyToClean()) {
      starts.add(z);
      z = solver.solve(guided, z, Collections.nCopies(rows, window));
      ends.add(z);
    }
    return new Chords(
        Tensor.cat(0, starts),
        Tensor.cat(0, ends),
        dropped.each(x -> Chords.repeated(x, windows.count())),
        draw.t());
  }

  /**
   * The teacher as the student is to follow it. A matched student sees in the drop what its teacher
   * sees; a fixed one only loses its caption.
   */
  private Denoiser guided(Conditioning condition, Conditioning dropped) {
    GuidanceMode mode = options.guidanceMode();
    if (mode == GuidanceMode.SYNC) {
      return teacher.given(dropped);
    }
    Conditioning told = mode == GuidanceMode.MATCHED ? dropped : condition;
    return teacher.guided(told, data.nullCondition(), options.guidance());
  }

  // ---------------------------------------------------------------- randomness

  private Draw draw(PiecewiseFlow flow, Step step, int rows, int repeats) {
    int all = step.examples().length;
    int perNoise = rowsANoise(flow);
    if (all % perNoise != 0) {
      throw new IllegalArgumentException(
          "got a batch of %d; expected a multiple of %d (drawsPerChord%s)"
              .formatted(all, perNoise, options.simulatedStarts() ? " × windows" : ""));
    }
    long[] examples = Arrays.copyOf(step.examples(), rows / repeats / chordsANoise(flow));
    Rng rng = step.rng();
    Tensor z0 = data.latents(examples, rng);
    Tensor noise = Tensor.randnLike(rng, z0);
    double[] t = times(flow.windows(), repeats, Tensor.rand(rng, rows).toDoubleArray());
    Conditioning condition = data.conditions(examples, rng);
    double[] dropped = Tensor.rand(rng, examples.length).toDoubleArray();
    boolean[] keep = new boolean[examples.length];
    for (int i = 0; i < keep.length; i++) {
      keep[i] = dropped[i] >= options.captionDropout();
    }
    return new Draw(z0, noise, t, condition, keep);
  }

  private int chordsANoise(PiecewiseFlow flow) {
    return options.simulatedStarts() ? flow.windows().count() : 1;
  }

  /** Rows of a batch that one drawn noise is good for. */
  private int rowsANoise(PiecewiseFlow flow) {
    return options.drawsPerChord() * chordsANoise(flow);
  }

  /**
   * Times 1 - floor(u n)/n, from u in [0, 1): each window's start and never its end, where the
   * target would be the next window's. Simulated chords come window by window, noisiest first, so
   * that each gets times of its own window; so do the {@code repeats} of a chord on data.
   */
  double[] times(TimeWindows windows, int repeats, double[] u) {
    int count = windows.count();
    int chords = u.length / repeats;
    double[] t = new double[u.length];
    for (int i = 0; i < u.length; i++) {
      int chord = i % chords;
      if (options.simulatedStarts()) {
        t[i] = onGrid((chord / (chords / count) + u[i]) / count, count);
      } else {
        t[i] = onGrid(i < chords ? u[i] : (Math.floor(u[chord] * count) + u[i]) / count, count);
      }
    }
    return t;
  }

  /** {@code where} in [0, 1) counts from noise. */
  private double onGrid(double where, int windows) {
    int points = options.gridPoints(windows);
    if (points == PerflowOptions.CONTINUOUS) {
      return Math.max(1 - where, 2 * TimeWindows.TOLERANCE); // t = 0 lies in no window
    }
    return 1 - Math.min(points - 1, Math.floor(where * points)) / points;
  }

  // ---------------------------------------------------------------- the pool

  private Pool emptyPool() {
    long[] shape = data.shape();
    long[] row = new long[shape.length + 1];
    row[0] = 1;
    System.arraycopy(shape, 0, row, 1, shape.length);
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> like = new LinkedHashMap<>();
      like.put("start", Tensor.zeros(DType.F32, data.device(), row));
      like.put("end", Tensor.zeros(DType.F32, data.device(), row));
      like.putAll(data.nullCondition().named());
      like.put("window", Tensor.zeros(DType.I64, 1)); // 1 (cleanest) to K; read by the host
      return new Pool("chords", options.chordPool(), like);
    }
  }

  /**
   * Chords of this step and of earlier ones. Several steps' worth are solved at a time: a few rows
   * keep a network's machinery busy for little.
   */
  private Chords pooled(Pool kept, PiecewiseFlow flow, Step step) {
    int rows = step.examples().length;
    int every = Math.min(REFILL_EVERY, rowsANoise(flow));
    int usual = roomFor(rows / options.drawsPerChord() * every);
    int noises = Math.min(rows, options.chordPool() / chordsANoise(flow));
    int first = Math.max(usual, noises * chordsANoise(flow));
    kept.refill(
        step.number(),
        every,
        usual,
        first,
        chords -> named(flow.windows(), solved(flow, draw(flow, step, chords, 1), 1)));
    Map<String, Tensor> drawn = kept.draw(rows, step.rng());
    long[] window = drawn.get("window").toLongArray();
    double[] u = Tensor.rand(step.rng(), rows).toDoubleArray();
    double[] t = new double[rows];
    int count = flow.windows().count();
    Arrays.setAll(t, i -> onGrid((count - window[i] + u[i]) / count, count));
    return new Chords(drawn.get("start"), drawn.get("end"), Conditioning.of(drawn), t);
  }

  /** A smaller pool would keep the last windows of a refill only. */
  private int roomFor(int chords) {
    if (chords > options.chordPool()) {
      throw new IllegalArgumentException(
          "chordPool is %d, and %d chords are added at a time; expected a pool of some times that"
              .formatted(options.chordPool(), chords));
    }
    return chords;
  }

  private static Map<String, Tensor> named(TimeWindows windows, Chords chords) {
    long[] window = Arrays.stream(chords.t()).mapToLong(t -> windows.at(t).k()).toArray();
    Map<String, Tensor> rows = new LinkedHashMap<>();
    rows.put("start", chords.start());
    rows.put("end", chords.end());
    rows.putAll(chords.condition().named());
    rows.put("window", Tensor.of(window));
    return rows;
  }

  /** What checkpoints must hold. */
  Map<String, Tensor> state() {
    return pool == null ? Map.of() : pool.state();
  }

  @Override
  public void close() {
    if (pool != null) {
      pool.close();
    }
  }
}
