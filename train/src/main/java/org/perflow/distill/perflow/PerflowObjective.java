package org.perflow.distill.perflow;

import java.util.List;
import java.util.Map;
import org.perflow.distill.Task;
import org.perflow.distill.perflow.PerflowOptions.GuidanceMode;
import org.perflow.distill.perflow.PerflowOptions.Matching;
import org.perflow.distill.perflow.PerflowOptions.Reweighting;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.TimeWindows;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Objective;

/**
 * PeRFlow (Yan et al., arXiv 2405.07510, algorithm 1): in every window of time the student learns
 * the chord of the teacher's trajectory, the straight line between the teacher's states at both
 * ends of the window. States, targets and losses are float32. One thread.
 */
public final class PerflowObjective implements Objective {
  /** One training step, all of [B, C, h, w] but the loss. */
  record Outcome(Tensor zt, Tensor target, Tensor prediction, Tensor loss) {}

  private final Task task;
  private final PerflowOptions options;
  private final NoiseSchedule schedule;
  private final PfOdeSolver solver;
  private final ChordSource source;

  /** The networks stay the task's; the settings must suit the teacher. */
  public PerflowObjective(Task task, PerflowOptions options) {
    this(
        task,
        options,
        new PfOdeSolver(
            task.teacher().schedule(),
            task.teacher().prediction(),
            options.solver(),
            options.solvingSteps()));
  }

  PerflowObjective(Task task, PerflowOptions options, PfOdeSolver solver) {
    this.task = task;
    this.options = options;
    this.solver = solver;
    schedule = task.teacher().schedule();
    options.parameterization().requireStart(task.teacher().prediction());
    for (int count : List.of(options.windows(), options.windowsAt(0))) {
      solver.nodes(new TimeWindows(count).window(1)); // refuses more steps than noise levels
    }
    source = new ChordSource(task, options, solver);
  }

  @Override
  public Map<String, Parameter> parameters() {
    return task.student().parameters();
  }

  @Override
  public int examples() {
    return task.data().size();
  }

  @Override
  public List<long[]> groups() {
    return task.data().groups();
  }

  /**
   * Algorithm 1: data, noise, captions and times are drawn, each z_s is taken to its window's end
   * z_e by the teacher's ODE, and at z_t between the two the student learns what leads from one to
   * the other.
   */
  @Override
  public Tensor loss(Step step) {
    PiecewiseFlow flow = flow(options.windowsAt(step.progress()));
    Chords chords = source.next(flow, step);
    return evaluate(flow, chords).loss();
  }

  Outcome evaluate(PiecewiseFlow flow, Chords chords) {
    double[] t = chords.t();
    Tensor zt;
    Tensor target;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      zt = scope.keep(flow.between(chords.start(), chords.end(), t));
      target = scope.keep(flow.target(chords.start(), chords.end(), t));
    }
    Tensor timesteps = Tensor.generate(t.length, i -> flow.timestep(t[i]));
    Tensor prediction = student(chords.condition()).predict(zt, timesteps).to(DType.F32);
    Tensor difference =
        options.matching() == Matching.OUTPUT
            ? prediction.sub(target)
            : flow.velocity(zt, prediction, t).sub(flow.velocity(zt, target, t)); // [B, C, h, w]
    return new Outcome(zt, target, prediction, distance(flow.windows(), difference, t));
  }

  /** The student, guided where it is taught to be. */
  private Denoiser student(Conditioning condition) {
    return options.guidanceMode() == GuidanceMode.MATCHED
        ? task.guided(task.student(), condition, options.guidance())
        : task.student().given(condition);
  }

  private Tensor distance(TimeWindows windows, Tensor difference, double[] t) {
    if (options.reweighting() == Reweighting.NONE) {
      return options.distance().of(difference, options.huberC());
    }
    Tensor weights = Tensor.generate(t.length, i -> weight(options.reweighting(), windows, t[i]));
    Tensor each = weights.to(difference.device()).asRows(difference.dim());
    return difference.square().mul(each).mean();
  }

  /** The weights of the authors' training scripts. */
  static double weight(Reweighting reweighting, TimeWindows windows, double t) {
    return switch (reweighting) {
      case NONE -> 1;
      case RECIPROCAL -> 1 / Math.max(1 - t, 0.1) / 2.3;
      case RCP_WIN -> {
        double count = windows.count();
        yield windows.at(t).start() / ((1 + count) / (2 * count));
      }
    };
  }

  /** The closed forms for that many windows. */
  public PiecewiseFlow flow(int windows) {
    return new PiecewiseFlow(
        schedule, new TimeWindows(windows), options.parameterization(), options.path());
  }

  @Override
  public String check() {
    SanityProbe probe = SanityProbe.of(task, flow(options.windows()), solver);
    if (!task.continued()) { // of an earlier student's weights step 0 promises nothing
      probe.require();
    }
    return probe.toString();
  }

  @Override
  public Map<String, Tensor> state() {
    return source.state();
  }

  /** Frees the chords that are kept; the networks belong to the caller. */
  @Override
  public void close() {
    source.close();
  }
}
