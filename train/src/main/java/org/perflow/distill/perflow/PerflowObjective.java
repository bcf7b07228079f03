package org.perflow.distill.perflow;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.Network;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.TimeWindows.Window;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Examples;
import org.perflow.train.Objective;

/**
 * PeRFlow (Yan et al., arXiv 2405.07510, algorithm 1): the student learns the chord of the
 * teacher's trajectory in every window of time. States, targets and losses are float32; the
 * networks compute in the element type of the conditions they are given. One thread.
 */
public final class PerflowObjective implements Objective {
  private static final int REFILL_EVERY = 8;

  /** The teacher: network, noise table and what it predicts. */
  public record Teacher(Network network, NoiseSchedule schedule, PredictionType prediction) {}

  /**
   * Everything random of one step. Rows of latents and noise are chords; times are {@code draws} a
   * chord, all chords once, then all again.
   *
   * @param z0 data latents, float32 [n, C, h, w]
   * @param noise of their shape
   * @param t one time a row of the batch, in (0, 1]
   * @param condition the caption of every chord, n rows
   * @param keep whether it is kept (else the student sees the empty one)
   */
  @SuppressWarnings("ArrayRecordComponent")
  public record Draw(Tensor z0, Tensor noise, double[] t, Conditioning condition, boolean[] keep) {}

  /** The teacher's chords: states at both ends of a window, float32, and the student's captions. */
  public record Chords(Tensor start, Tensor end, Conditioning condition) {
    Chords each(UnaryOperator<Tensor> change) {
      return new Chords(change.apply(start), change.apply(end), condition.each(change));
    }
  }

  /** One training step, all of [B, C, h, w] but the loss. */
  public record Outcome(Tensor zt, Tensor target, Tensor prediction, Tensor loss) {}

  private final Examples data;
  private final Teacher teacher;
  private final Network student;
  private final Map<String, Parameter> parameters;
  private final PerflowOptions options;
  private final PfOdeSolver solver;
  private final @Nullable ChordPool pool;
  private boolean continued;

  /**
   * @param data what to train on
   * @param teacher only read
   * @param student network to train, usually a copy of the teacher's
   * @param parameters the student's weights
   */
  public PerflowObjective(
      Examples data,
      Teacher teacher,
      Network student,
      Map<String, Parameter> parameters,
      PerflowOptions options) {
    this(
        data,
        teacher,
        student,
        parameters,
        options,
        new PfOdeSolver(
            teacher.schedule(), teacher.prediction(), options.solver(), options.solvingSteps()));
  }

  PerflowObjective(
      Examples data,
      Teacher teacher,
      Network student,
      Map<String, Parameter> parameters,
      PerflowOptions options,
      PfOdeSolver solver) {
    this.data = data;
    this.teacher = teacher;
    this.student = student;
    this.parameters = new LinkedHashMap<>(parameters);
    this.options = options;
    this.solver = solver;
    options.parameterization().requireStart(teacher.prediction());
    for (int count : List.of(options.windows(), options.windowsAt(0))) {
      solver.nodes(new TimeWindows(count).window(1)); // refuses more steps than noise levels
    }
    pool = options.chordPool() == 0 ? null : ChordPool.of(data, options.chordPool());
  }

  @Override
  public Map<String, Parameter> parameters() {
    return Collections.unmodifiableMap(parameters);
  }

  @Override
  public int examples() {
    return data.size();
  }

  @Override
  public Map<String, Tensor> state() {
    return pool == null ? Map.of() : pool.state();
  }

  @Override
  public String check() {
    var probe = SanityProbe.of(data, teacher, student, flow(options.windows()), solver);
    if (!continued) {
      probe.require();
    }
    return probe.toString();
  }

  /** Says that the student has an earlier student's weights, of which step 0 promises nothing. */
  public PerflowObjective continued() {
    continued = true;
    return this;
  }

  @Override
  public Tensor loss(Step step) {
    PiecewiseFlow flow = flow(options.windowsAt(step.progress()));
    int rows = step.examples().length;
    int repeats = options.drawsPerChord();
    if (pool == null) {
      return evaluate(flow, draw(flow, step, rows, repeats)).loss();
    }
    ChordPool.Batch batch;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      // Several steps' worth at a time: a few rows keep a network's machinery busy for little.
      int every = Math.min(REFILL_EVERY, perNoise(flow));
      if (step.number() % every == 0) {
        int chords = roomFor(rows / repeats * every);
        if (pool.isEmpty()) {
          // The first chords are few, and would be used far more often than those that follow.
          int noises = Math.min(rows, options.chordPool() / chordsANoise(flow));
          chords = Math.max(chords, noises * chordsANoise(flow));
        }
        Draw draw = draw(flow, step, chords, 1);
        pool.add(chords(flow, draw, 1), windowsOf(flow.windows(), draw.t()));
      }
      batch = pool.draw(rows, step.rng());
      batch.chords().each(scope::keep);
    }
    double[] u = Tensor.rand(step.rng(), rows).toDoubleArray();
    return evaluate(flow, batch.chords(), timesIn(flow.windows(), batch.windows(), u)).loss();
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

  /** Rows of a batch that one drawn noise is good for. */
  private int perNoise(PiecewiseFlow flow) {
    return options.drawsPerChord() * chordsANoise(flow);
  }

  private int chordsANoise(PiecewiseFlow flow) {
    return options.simulatedStarts() ? flow.windows().count() : 1;
  }

  private static int[] windowsOf(TimeWindows windows, double[] t) {
    return Arrays.stream(t).mapToInt(time -> windows.at(time).k()).toArray();
  }

  /** The closed forms for that many windows. */
  public PiecewiseFlow flow(int windows) {
    return new PiecewiseFlow(
        teacher.schedule(), new TimeWindows(windows), options.parameterization(), options.path());
  }

  // ---------------------------------------------------------------- randomness

  private Draw draw(PiecewiseFlow flow, Step step, int rows, int repeats) {
    int all = step.examples().length;
    int perNoise = perNoise(flow);
    if (all % perNoise != 0) {
      throw new IllegalArgumentException(
          "got a batch of %d; expected a multiple of %d (drawsPerChord%s)"
              .formatted(all, perNoise, options.simulatedStarts() ? " × windows" : ""));
    }
    long[] examples = Arrays.copyOf(step.examples(), rows / repeats / chordsANoise(flow));
    Rng rng = step.rng();
    Tensor z0 = data.latents(examples, rng);
    Tensor noise = Tensor.randn(rng, z0.shape());
    double[] t = times(flow.windows(), repeats, Tensor.rand(rng, rows).toDoubleArray());
    Conditioning condition = data.conditions(examples, rng);
    double[] dropped = Tensor.rand(rng, examples.length).toDoubleArray();
    boolean[] keep = new boolean[examples.length];
    for (int i = 0; i < keep.length; i++) {
      keep[i] = dropped[i] >= options.captionDropout();
    }
    return new Draw(z0, noise, t, condition, keep);
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

  /** The same within given windows, 1 (cleanest) to K. */
  private double[] timesIn(TimeWindows windows, int[] k, double[] u) {
    int count = windows.count();
    double[] t = new double[u.length];
    Arrays.setAll(t, i -> onGrid((count - k[i] + u[i]) / count, count));
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

  // ---------------------------------------------------------------- one step

  /** Loss and all that leads to it, for given randomness. */
  Outcome evaluate(PiecewiseFlow flow, Draw draw) {
    Chords chords;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      chords = chords(flow, draw, options.drawsPerChord()).each(scope::keep);
    }
    return evaluate(flow, chords, draw.t());
  }

  private Outcome evaluate(PiecewiseFlow flow, Chords chords, double[] t) {
    Tensor zt;
    Tensor target;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      zt = scope.keep(flow.between(chords.start(), chords.end(), t));
      target = scope.keep(flow.target(chords.start(), chords.end(), t));
    }
    boolean matched = options.guidanceMode() == PerflowOptions.GuidanceMode.MATCHED;
    Denoiser network =
        matched ? guidedBy(student, chords.condition()) : student.given(chords.condition());
    Tensor prediction = network.predict(zt, times(flow, t)).to(DType.F32); // [B, C, h, w]
    return new Outcome(zt, target, prediction, loss(flow, t, zt, prediction, target));
  }

  private static Tensor times(PiecewiseFlow flow, double[] t) {
    return Tensor.generate(t.length, i -> flow.timestep(t[i]));
  }

  /** The chords of a draw, each {@code repeats} times. */
  Chords chords(PiecewiseFlow flow, Draw draw, int repeats) {
    Conditioning dropped = draw.condition().keep(draw.keep(), data.nullCondition()); // spec 2.5
    Chords chords =
        options.simulatedStarts()
            ? simulated(flow.windows(), draw, dropped)
            : fromData(flow, draw, dropped);
    return chords.each(x -> repeat(x, repeats));
  }

  /** Starts on noised data, each row in the window of its time (spec 2.2). */
  private Chords fromData(PiecewiseFlow flow, Draw draw, Conditioning dropped) {
    int rows = (int) draw.z0().size(0);
    double[] t = Arrays.copyOf(draw.t(), rows);
    Tensor start = flow.start(draw.z0(), draw.noise(), t);
    Tensor end = solver.solve(guided(draw.condition(), dropped), start, flow.windows(), t);
    return new Chords(start, end, dropped);
  }

  /** The whole trajectory of each noise: one chord in every window, noisiest first (spec 6.4). */
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
        Tensor.cat(0, starts), Tensor.cat(0, ends), dropped.each(x -> repeat(x, windows.count())));
  }

  private Denoiser guided(Conditioning condition, Conditioning dropped) {
    if (options.guidanceMode() == PerflowOptions.GuidanceMode.SYNC) {
      return teacher.network().given(dropped);
    }
    // A matched student sees in the drop what its teacher sees; a fixed one only loses its caption.
    boolean matched = options.guidanceMode() == PerflowOptions.GuidanceMode.MATCHED;
    return guidedBy(teacher.network(), matched ? dropped : condition);
  }

  /** Both halves of the guidance in one pass of the network. */
  private Denoiser guidedBy(Network network, Conditioning condition) {
    Conditioning none =
        condition.with(data.nullCondition(), (x, empty) -> like(x, empty).expand(x.shape()));
    return Denoiser.guided(network.given(none.cat(condition)), options.guidance());
  }

  private static Tensor like(Tensor x, Tensor empty) {
    return empty.to(x.dtype());
  }

  private static Tensor repeat(Tensor x, int times) {
    return times == 1 ? x : Tensor.cat(0, Collections.nCopies(times, x));
  }

  // ---------------------------------------------------------------- loss

  private Tensor loss(PiecewiseFlow flow, double[] t, Tensor zt, Tensor prediction, Tensor target) {
    Tensor difference =
        options.matching() == PerflowOptions.Matching.OUTPUT
            ? prediction.sub(target)
            : flow.velocity(zt, prediction, t).sub(flow.velocity(zt, target, t));
    if (options.distance() == PerflowOptions.Distance.PSEUDO_HUBER) {
      return pseudoHuber(difference, options.huberC());
    }
    if (options.reweighting() == PerflowOptions.Reweighting.NONE) {
      return difference.square().mean();
    }
    Tensor weights =
        Tensor.generate(t.length, i -> weight(options.reweighting(), flow.windows(), t[i]));
    return difference.square().mul(weights.asRows(difference.dim())).mean();
  }

  /** mean(√(d² + c²) − c): L2 near zero, L1 far from it. */
  public static Tensor pseudoHuber(Tensor difference, double c) {
    return difference.square().add(c * c).sqrt().sub(c).mean();
  }

  /** The official scripts' weights (spec 2.5). */
  static double weight(PerflowOptions.Reweighting reweighting, TimeWindows windows, double t) {
    return switch (reweighting) {
      case NONE -> 1;
      case RECIPROCAL -> 1 / Math.max(1 - t, 0.1) / 2.3;
      case RCP_WIN -> {
        double count = windows.count();
        yield windows.at(t).start() / ((1 + count) / (2 * count));
      }
    };
  }

  /** Frees the chords that are kept; the networks belong to the caller. */
  @Override
  public void close() {
    if (pool != null) {
      pool.close();
    }
  }
}
