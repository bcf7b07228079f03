package org.perflow.distill.consistency;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.distill.Distance;
import org.perflow.distill.Formula;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.distill.consistency.ConsistencyObjective.Draw;
import org.perflow.distill.consistency.ConsistencyObjective.Rule;
import org.perflow.distill.consistency.ConsistencyObjective.Settings;
import org.perflow.distill.ring.Ring;
import org.perflow.distill.ring.RingNet;
import org.perflow.distill.ring.RingRecipe;
import org.perflow.distill.ring.RingRun;
import org.perflow.flow.Affine;
import org.perflow.flow.Conditioning;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TeacherSolver;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.LoraOptions;
import org.perflow.train.Objective;
import org.perflow.train.TrainOptions;

/** LCM, PCM and TCD: what they minimise, against hand-computed values, and that it teaches. */
class ConsistencyMethodsTest {
  private static final Rule LCM = new LcmMethod.ToData(Ring.SCHEDULE, PredictionType.EPSILON);
  private static final Rule PCM =
      new PcmMethod.ToPhaseEnd(Ring.SCHEDULE, PredictionType.EPSILON, 4);
  private static final Rule TCD = new TcdMethod.ToAnyLevel(Ring.SCHEDULE, PredictionType.EPSILON);

  @TempDir Path temp;

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  private static double alpha(int level) {
    return Ring.SCHEDULE.alpha(level);
  }

  private static double sigma(int level) {
    return Ring.SCHEDULE.sigma(level);
  }

  // ---------------------------------------------------------------- consistency functions

  @Test
  void everyFunctionIsTheStateItselfAtItsGoal() {
    Affine itself = new Affine(1, 0);
    assertThat(LCM.jump(0, 0).a()).isEqualTo(1);
    assertThat(LCM.jump(0, 0).b()).isZero();
    assertThat(PCM.jump(749, 749)).isEqualTo(itself);
    assertThat(PCM.jump(-1, -1)).isEqualTo(itself);
    assertThat(TCD.jump(531, 531)).isEqualTo(itself);
  }

  /** c_skip = .25/(190² + .25), c_out = 190/√(190² + .25) at timestep 19. */
  @Test
  void lcmSkipsAsItsSamplerDoes() {
    double out = 0.99999654;
    assertThat(LCM.jump(19, 0).a()).isCloseTo(6.9252e-6 + out / alpha(19), within(1e-7));
    assertThat(LCM.jump(19, 0).b()).isCloseTo(-out * sigma(19) / alpha(19), within(1e-7));
  }

  @Test
  void goals() {
    assertThat(new int[] {PCM.goal(974, 0), PCM.goal(749, 0), PCM.goal(748, 0)})
        .containsExactly(749, 749, 499);
    assertThat(new int[] {PCM.goal(249, 0), PCM.goal(248, 0), PCM.goal(-1, 0)})
        .containsExactly(249, -1, -1);
    assertThat(new int[] {TCD.goal(979, 0), TCD.goal(979, 0.5), TCD.goal(979, 0.9999)})
        .containsExactly(0, 490, 979);
    assertThat(TCD.goal(0, 0.9)).isZero();
  }

  // ---------------------------------------------------------------- the objective

  private Task task(Net teacher, Net student) {
    var closed = new Task.Teacher(teacher, Ring.scheduler());
    return new Task(new Ring(), closed, student, false, TrainOptions.DEFAULTS, temp);
  }

  private static Settings settings(int gridSteps, double guidance, boolean told) {
    return settings(gridSteps, TeacherSolver.DDIM, 1, guidance, told);
  }

  private static Settings settings(
      int gridSteps, TeacherSolver solver, int evaluations, double guidance, boolean told) {
    return new Settings(
        gridSteps, solver, evaluations, guidance, guidance, told, 0, 0, Distance.L2, 1e-3);
  }

  /**
   * Two rows between levels of their own: the teacher says 0.5 of a caption and 0 of none, so 1.5
   * under guidance 3; the student says half of the number that it is told, 2 = 3 − 1.
   */
  @Test
  void lossByHand() {
    Net teacher =
        new Formula(
            (z, t, told) -> told.text().mul(0.5).reshape(z.size(0), 1, 1, 1).expand(z.shape()));
    Net student =
        new Formula(
            (z, t, told) ->
                told.timestepCond().mul(0.5).reshape(z.size(0), 1, 1, 1).expand(z.shape()));
    int[] from = {999, 259};
    int[] to = {979, 239};
    int[] goal = {400, 239};
    double sum = 0;
    for (int i = 0; i < 2; i++) {
      double z = alpha(from[i]) * 0.7 - sigma(from[i]) * 0.2;
      double x0 = (z - sigma(from[i]) * 1.5) / alpha(from[i]);
      double next = alpha(to[i]) * x0 + sigma(to[i]) * 1.5;
      double said = ddim(z, 1, from[i], goal[i]);
      double wanted = to[i] == goal[i] ? next : ddim(next, 1, to[i], goal[i]);
      sum += (said - wanted) * (said - wanted);
    }
    try (Scope scope = Scope.open();
        var objective =
            new ConsistencyObjective(task(teacher, student), settings(50, 3, true), TCD)) {
      Draw draw =
          new Draw(
              Tensor.full(0.7, 2, 2, 1, 1),
              Tensor.full(-0.2, 2, 2, 1, 1),
              from,
              to,
              goal,
              new double[] {3, 3},
              Conditioning.of(Tensor.full(1, 2, 1)));
      assertThat(objective.loss(draw).item()).isCloseTo(sum / 2, within(1e-4 * sum));
    }
  }

  private static double ddim(double z, double noise, int from, int goal) {
    double x0 = (z - sigma(from) * noise) / alpha(from);
    return alpha(goal) * x0 + sigma(goal) * noise;
  }

  /**
   * Data N(0.3, 0.5²): the exact function to level s is m_s + √(v_s/v_t) (z − m_t), v = (α/2)² +
   * σ². Its loss is what a DDIM step misses of the trajectory, of second order in the step: in
   * squares, a sixteenth for half of it.
   */
  @Test
  void theExactFunctionOnlyPaysForTheTeachersStep() {
    for (Rule rule : new Rule[] {LCM, PCM}) {
      double coarse = lossOfExact(rule, settings(100, 1, false));
      double fine = lossOfExact(rule, settings(200, 1, false));
      assertThat(coarse).isLessThan(1e-4);
      assertThat(coarse / fine).as("%s", rule).isBetween(8.0, 32.0);
    }
  }

  /** What is missed falls with the solver's order, at the same number of evaluations. */
  @Test
  void theTeachersStepMayBeSolvedBetter() {
    double ddim = lossOfExact(PCM, settings(40, TeacherSolver.DDIM, 4, 1, false));
    for (TeacherSolver solver : new TeacherSolver[] {TeacherSolver.HEUN, TeacherSolver.DEIS_2}) {
      double better = lossOfExact(PCM, settings(40, solver, 4, 1, false));
      assertThat(better).as("%s", solver).isLessThan(ddim / 10);
    }
  }

  private double lossOfExact(Rule rule, Settings settings) {
    Net teacher =
        new Formula(
            (z, t, told) ->
                perLevel(z, t, n -> new Affine(sigma(n) / v(n), -sigma(n) * mean(n) / v(n))));
    Net student =
        new Formula(
            (z, t, told) ->
                perLevel(
                    z,
                    t,
                    n -> {
                      int goal = rule == LCM ? 0 : rule.goal(n - 1, 0);
                      Affine jump = rule.jump(n, goal);
                      double slope = Math.sqrt(v(goal) / v(n));
                      double shift = mean(goal) - slope * mean(n);
                      return Math.abs(jump.b()) < 1e-9 // the boundary, where nothing is asked
                          ? new Affine(0, 0)
                          : new Affine((slope - jump.a()) / jump.b(), shift / jump.b());
                    }));
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(4);
        Objective objective = new ConsistencyObjective(task(teacher, student), settings, rule)) {
      return objective.loss(new Objective.Step(0, 0, new long[4096], rng)).item();
    }
  }

  private static double v(int level) {
    return 0.25 * alpha(level) * alpha(level) + sigma(level) * sigma(level);
  }

  private static double mean(int level) {
    return 0.3 * alpha(level);
  }

  private interface AtLevel {
    Affine of(int level);
  }

  /** a·z + b in every row. */
  private static Tensor perLevel(Tensor z, Tensor timesteps, AtLevel affine) {
    double[] levels = timesteps.toDoubleArray();
    Affine[] each = new Affine[levels.length];
    for (int i = 0; i < each.length; i++) {
      each[i] = affine.of((int) levels[i]);
    }
    return Affine.apply(each, z, z.mul(0).add(1));
  }

  // ---------------------------------------------------------------- the target network

  @Test
  void theTargetFollowsOnceAStep() {
    try (Rng rng = Rng.seeded(6);
        Net student = RingNet.random(rng);
        TargetNetwork target = new TargetNetwork(student, 0.95);
        Scope scope = Scope.open()) {
      Parameter weight = student.parameters().values().iterator().next();
      double before = weight.value().mean().item();
      try (NoGrad guard = NoGrad.enter()) {
        weight.value().addInPlace(1);
      }
      target.follow(0);
      assertThat(target.ask(() -> weight.value().mean()).item()).isCloseTo(before, within(1e-6));
      for (int microBatch = 0; microBatch < 2; microBatch++) {
        target.follow(1);
        assertThat(target.ask(() -> weight.value().mean()).item())
            .isCloseTo(before + 0.05, within(1e-6));
      }
      assertThat(weight.value().mean().item()).isCloseTo(before + 1, within(1e-6));
      assertThat(target.state()).hasSize(student.parameters().size() + 1);
    }
  }

  // ---------------------------------------------------------------- learning

  @ParameterizedTest
  @ValueSource(strings = {"lcm", "lcm-lora", "pcm", "tcd"})
  void learnsTheRing(String name) throws IOException {
    RingRecipe<?> recipe = RingRecipe.of(name).trainedFor(400);
    try (Net student = recipe.student().get()) {
      RingRun.Figures before = RingRun.figures(student, recipe.sampler(), 4);
      RingRun.Figures after = RingRun.train(recipe, student, temp, 4);
      System.out.printf("%s on the ring, 4 steps: %s, started at %s%n", name, after, before);
      assertThat(after.energy()).isLessThan(before.energy() / 1.3);
    }
  }

  // ---------------------------------------------------------------- refusals

  @Test
  void refusals() {
    var lcm = LcmMethod.TOLD;
    assertThatThrownBy(() -> lcm.require(new LoraOptions(8, 0), LcmOptions.DEFAULTS))
        .hasMessageContaining("the method lcm-lora");
    lcm.require(new LoraOptions(8, 0), LcmOptions.LORA);
    assertThatThrownBy(() -> LcmMethod.LORA.require(LoraOptions.DEFAULTS, LcmOptions.LORA))
        .hasMessageContaining("lcm-lora trains low-rank factors: choose a loraRank of 1 or more");
    assertThatThrownBy(() -> PcmOptions.DEFAULTS.withGridSteps(50))
        .hasMessageContaining("multiple of the phases");
    assertThatThrownBy(() -> ConsistencyObjective.require(Ring.scheduler(), settings(48, 3, false)))
        .hasMessageContaining("divide the teacher's 1000 noise levels; got 48");
    var tooFine = settings(500, TeacherSolver.DEIS_2, 2, 3, false);
    assertThatThrownBy(() -> ConsistencyObjective.require(Ring.scheduler(), tooFine))
        .hasMessageContaining("fewer than the 2 noise levels between two of the grid; got 2");
    var zeroSnr = Ring.scheduler().put("rescale_betas_zero_snr", true);
    assertThatThrownBy(() -> ConsistencyObjective.require(zeroSnr, settings(50, 3, false)))
        .hasMessageContaining("pure noise");
    ConsistencyObjective.require(
        zeroSnr.put("prediction_type", "v_prediction"), settings(50, 3, false));
  }
}
