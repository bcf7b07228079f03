package org.perflow.distill.consistency;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.perflow.distill.Checks;
import org.perflow.distill.Distance;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.flow.Affine;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TeacherSolver;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Objective;

/**
 * Consistency distillation (Song et al., arXiv 2303.01469, algorithm 2; Luo et al., arXiv
 * 2310.04378, algorithm 1): a consistency function f leads from any level of a trajectory straight
 * to a goal on it, so it must say the same from both ends of one teacher step,
 *
 * <pre>d( f(z_n; n → goal), f⁻(Φ(z_n; n → m); m → goal) ),</pre>
 *
 * where Φ is the guided teacher's ODE between neighbours of a grid of N levels, one DDIM step as
 * published, and f⁻ the {@link TargetNetwork}. f is affine in state and network output, and the
 * state itself at its goal, from which everything is learned. What the goal is and what f is makes
 * the {@link Rule}, which is all that LCM, PCM and TCD differ in. States, targets and losses are
 * float32. One thread.
 */
final class ConsistencyObjective implements Objective {
  /** What sets a method apart; levels are indices, −1 the final one. */
  interface Rule {
    /** Where the cleanest teacher step ends: 0, or −1. */
    int last();

    /**
     * The goal of f for a teacher step that ends at {@code to}.
     *
     * @param u uniform in [0, 1)
     */
    int goal(int to, double u);

    /** f as a·z + b·output at level {@code from}; exactly z at the goal. */
    Affine jump(int from, int goal);
  }

  /**
   * What the methods share. Valid once made.
   *
   * @param gridSteps N
   * @param solver of Φ
   * @param solvingSteps evaluations of the teacher in Φ
   * @param guidanceMin least scale of the teacher's guidance, 1 for none
   * @param guidanceMax largest; each row draws its own between
   * @param told whether the student is told the scale, as scale − 1 (Luo et al., section 4.2)
   * @param captionDropout part of the captions replaced by the empty one, for both networks
   * @param targetDecay of {@link TargetNetwork}
   */
  record Settings(
      int gridSteps,
      TeacherSolver solver,
      int solvingSteps,
      double guidanceMin,
      double guidanceMax,
      boolean told,
      double captionDropout,
      double targetDecay,
      Distance distance,
      double huberC) {

    Settings {
      Checks.that(gridSteps > 1, "gridSteps must be 2 or more; got " + gridSteps);
      solver.steps(solvingSteps); // refuses what makes no whole number of steps
      Checks.that(guidanceMin >= 1, "guidance is a scale of 1 (none) or more; got " + guidanceMin);
      Checks.that(
          captionDropout >= 0 && captionDropout < 1,
          "captionDropout is a probability below 1; got " + captionDropout);
      Checks.that(
          targetDecay >= 0 && targetDecay < 1,
          "targetDecay must lie between 0 (the student itself) and below 1; got " + targetDecay);
      Checks.that(huberC > 0, "huberC must be above 0; got " + huberC);
    }

    /** Of a student of one guidance, which it is not told. */
    Settings(
        int gridSteps,
        TeacherSolver solver,
        int solvingSteps,
        double guidance,
        double captionDropout,
        double targetDecay,
        Distance distance,
        double huberC) {
      this(
          gridSteps,
          solver,
          solvingSteps,
          guidance,
          guidance,
          false,
          captionDropout,
          targetDecay,
          distance,
          huberC);
    }
  }

  /**
   * Everything random of one step, B rows.
   *
   * @param z0 data latents, float32 [B, C, h, w]
   * @param noise of their shape
   * @param from where the teacher's step starts
   * @param to where it ends
   * @param goal of the consistency function
   * @param scale of the guidance
   */
  @SuppressWarnings("ArrayRecordComponent")
  record Draw(
      Tensor z0,
      Tensor noise,
      int[] from,
      int[] to,
      int[] goal,
      double[] scale,
      Conditioning condition) {}

  private final Task task;
  private final Settings settings;
  private final Rule rule;
  private final NoiseSchedule schedule;
  private final PredictionType prediction;
  private final PfOdeSolver solver;
  private final TargetNetwork target;

  ConsistencyObjective(Task task, Settings settings, Rule rule) {
    this.task = task;
    this.settings = settings;
    this.rule = rule;
    schedule = task.teacher().schedule();
    prediction = task.teacher().prediction();
    solver = new PfOdeSolver(schedule, prediction, settings.solver(), settings.solvingSteps());
    target = new TargetNetwork(task.student(), settings.targetDecay());
  }

  /** f as DDIM from any level to the goal: what PCM and TCD jump by. */
  static Affine ddim(NoiseSchedule schedule, PredictionType prediction, int from, int goal) {
    return from == goal ? new Affine(1, 0) : prediction.ddim(schedule, from, goal);
  }

  /** Refuses teachers without a table of noise that holds such a grid, or without a way to x0. */
  static void require(ObjectNode teacher, Settings settings) {
    NoiseSchedule schedule = NoiseSchedule.of(teacher);
    int gridSteps = settings.gridSteps();
    Checks.that(
        schedule.size() % gridSteps == 0,
        "gridSteps must divide the teacher's %d noise levels; got %d"
            .formatted(schedule.size(), gridSteps));
    Checks.that(
        settings.solver().steps(settings.solvingSteps()) < schedule.size() / gridSteps,
        "solvingSteps must be fewer than the %d noise levels between two of the grid; got %d"
            .formatted(schedule.size() / gridSteps, settings.solvingSteps()));
    Checks.signal(teacher);
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

  @Override
  public Map<String, Tensor> state() {
    return target.state();
  }

  @Override
  public Tensor loss(Step step) {
    target.follow(step.number());
    return loss(draw(step));
  }

  private Draw draw(Step step) {
    Rng rng = step.rng();
    int rows = step.examples().length;
    Tensor z0 = task.data().latents(step.examples(), rng);
    Tensor noise = Tensor.randnLike(rng, z0);
    Conditioning condition = task.data().conditions(step.examples(), rng);
    double[] u = Tensor.rand(rng, 4, rows).toDoubleArray();
    int stride = schedule.size() / settings.gridSteps();
    int[] from = new int[rows];
    int[] to = new int[rows];
    int[] goal = new int[rows];
    double[] scale = new double[rows];
    boolean[] keep = new boolean[rows];
    for (int i = 0; i < rows; i++) {
      from[i] = stride * (1 + (int) (u[i] * settings.gridSteps())) - 1;
      to[i] = Math.max(from[i] - stride, rule.last());
      goal[i] = rule.goal(to[i], u[rows + i]);
      double range = settings.guidanceMax() - settings.guidanceMin();
      scale[i] = settings.guidanceMin() + range * u[2 * rows + i];
      keep[i] = u[3 * rows + i] >= settings.captionDropout();
    }
    condition = condition.keep(keep, task.data().nullCondition());
    return new Draw(z0, noise, from, to, goal, scale, condition);
  }

  /** The loss for given randomness. */
  Tensor loss(Draw draw) {
    Conditioning told = draw.condition();
    if (settings.told()) {
      told = told.withTimestepCond(perRow(draw.scale()).sub(1));
    }
    Denoiser student = task.student().given(told);
    Tensor z;
    Tensor wanted;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      z = scope.keep(schedule.addNoise(draw.z0(), draw.noise(), draw.from()));
      Tensor next = solver.solve(guided(draw), z, draw.from(), draw.to());
      wanted = scope.keep(target.ask(() -> jump(student, next, draw.to(), draw.goal())));
    }
    Tensor difference = jump(student, z, draw.from(), draw.goal()).sub(wanted); // [B, C, h, w]
    return settings.distance().of(difference, settings.huberC());
  }

  /** The teacher under each row's guidance. */
  private Denoiser guided(Draw draw) {
    Net teacher = task.teacher().net();
    return settings.guidanceMax() == 1
        ? teacher.given(draw.condition())
        : teacher.guided(draw.condition(), task.data().nullCondition(), perRow(draw.scale()));
  }

  private Tensor jump(Denoiser network, Tensor z, int[] from, int[] goal) {
    Affine[] each = new Affine[from.length];
    Arrays.setAll(each, i -> rule.jump(from[i], goal[i]));
    return Affine.apply(each, z, network.predict(z, timesteps(from)));
  }

  /** At the final level, where the network's word counts nothing, it is told index 0. */
  private static Tensor timesteps(int[] levels) {
    return Tensor.generate(levels.length, i -> Math.max(levels[i], 0));
  }

  private static Tensor perRow(double[] values) {
    return Tensor.generate(values.length, i -> values[i]);
  }

  @Override
  public void close() {
    target.close();
  }
}
