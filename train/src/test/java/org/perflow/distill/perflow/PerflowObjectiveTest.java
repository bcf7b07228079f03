package org.perflow.distill.perflow;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.perflow.distill.Distance;
import org.perflow.distill.Formula;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.distill.perflow.PerflowOptions.GuidanceMode;
import org.perflow.distill.perflow.PerflowOptions.Matching;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.PiecewiseFlow.Curve;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TimeWindows;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Gaussian;
import org.perflow.train.Objective;

/** The objective against closed forms: a teacher of N(0, 1), and losses by hand. */
class PerflowObjectiveTest {
  private static final TimeWindows FOUR = new TimeWindows(4);

  private static PerflowObjective objective(PerflowOptions options) {
    return new PerflowObjective(Gaussian.task(Gaussian.TEACHER.net()), options);
  }

  private static ChordSource source(PerflowOptions options) {
    return source(Gaussian.task(Gaussian.TEACHER.net()), options);
  }

  private static ChordSource source(Task task, PerflowOptions options) {
    var solver =
        new PfOdeSolver(
            Gaussian.SCHEDULE, PredictionType.EPSILON, options.solver(), options.solvingSteps());
    return new ChordSource(task, options, solver);
  }

  /** A step of the teacher as the student. */
  private static PerflowObjective.Outcome outcome(PerflowOptions options, ChordSource.Draw draw) {
    PerflowObjective objective = objective(options);
    PiecewiseFlow flow = objective.flow(4);
    return objective.evaluate(flow, source(options).solved(flow, draw, 1));
  }

  /** Window starts that are exactly 1: z0 = α and noise = σ of the start. */
  private static ChordSource.Draw ones(double... t) {
    float[] alpha = new float[t.length];
    float[] sigma = new float[t.length];
    for (int i = 0; i < t.length; i++) {
      int index = FOUR.at(t[i]).startIndex(1000);
      alpha[i] = (float) Gaussian.SCHEDULE.alpha(index);
      sigma[i] = (float) Gaussian.SCHEDULE.sigma(index);
    }
    boolean[] keep = new boolean[t.length];
    return new ChordSource.Draw(
        Tensor.of(alpha, t.length, 1),
        Tensor.of(sigma, t.length, 1),
        t,
        Conditioning.of(Tensor.full(0, t.length, 1)),
        keep);
  }

  @Test
  void targetsAreThoseOfTheClosedForm() {
    try (Scope scope = Scope.open()) {
      double[][]
          targets = { // ten DDIM steps a window worked out by hand, windows from noise to data
        {0.99240756, 0.93736717, 0.75151399, 0.35441896},
        {0.74487884, 0.61719768, 0.47458884, 0.33980742},
        {0.00625291, 0.02003864, 0.03349499, 0.07597280}
      };
      Parameterization[] kinds = {
        Parameterization.DDIM_EPS, Parameterization.DIFF_EPS, Parameterization.VELOCITY
      };
      for (int i = 0; i < kinds.length; i++) {
        PerflowOptions options =
            PerflowOptions.PUBLISHED.withParameterization(kinds[i]).withSolvingSteps(10);
        PiecewiseFlow flow = objective(options).flow(4);
        Chords chords = source(options).solved(flow, ones(1, 0.75, 0.5, 0.25), 1);
        Tensor target =
            flow.target(chords.start(), chords.end(), new double[] {1, 0.75, 0.5, 0.25});
        assertThat(target.toDoubleArray()).containsExactly(targets[i], within(3e-6));
        assertThat(chords.end().toDoubleArray())
            .containsExactly(
                new double[] {0.99843677, 0.99499034, 0.99162625, 0.98100680}, within(2e-7));
      }
    }
  }

  @Test
  void withoutAGridTimesAreAsTheyAreDrawn() {
    double[] u = {0, 0.25, 0.6, 0.99999};
    double[] t = source(PerflowOptions.PUBLISHED.withDiscreteTimesteps(-1)).times(FOUR, 1, u);
    assertThat(t).containsExactly(1, 0.75, 0.4, 2e-4);
  }

  @Test
  void gridHoldsEveryStartAndNoEnd() {
    double[] u = new double[4000];
    Arrays.setAll(u, i -> i / 4000.0);
    double[] t = source(PerflowOptions.PUBLISHED.withDiscreteTimesteps(8)).times(FOUR, 1, u);
    assertThat(Arrays.stream(t).distinct().toArray())
        .containsExactly(1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125);
  }

  @Test
  void furtherDrawsOfAChordStayInItsWindow() {
    double[] u = {0.1, 0.3, 0.6, 0.9, 0.99, 0.0, 0.5, 0.2, 0.3, 0.9, 0.1, 0.6};
    double[] t = source(PerflowOptions.PUBLISHED.withDrawsPerChord(3)).times(FOUR, 3, u);
    for (int i = 0; i < t.length; i++) {
      assertThat(FOUR.at(t[i])).isEqualTo(FOUR.at(t[i % 4]));
    }
    assertThat(t[4]).isBetween(0.75, 0.76); // 0.99 of the way through the noisiest window
  }

  @Test
  void simulatedChordsAreTheTeachersOwnTrajectory() {
    PerflowOptions options =
        PerflowOptions.PUBLISHED.withSimulatedStarts(true).withDrawsPerChord(2);
    ChordSource source = source(options);
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(3)) {
      double[] u = new double[16];
      Arrays.fill(u, 0.5);
      double[] t = source.times(FOUR, 2, u);
      assertThat(Arrays.copyOf(t, 8))
          .containsExactly(0.875, 0.875, 0.625, 0.625, 0.375, 0.375, 0.125, 0.125);
      Tensor noise = Tensor.randn(rng, 2, 1);
      var draw =
          new ChordSource.Draw(
              noise, noise, t, Conditioning.of(Tensor.full(0, 2, 1)), new boolean[] {true, false});
      Chords chords = source.solved(objective(options).flow(4), draw, 2);
      assertThat(chords.start().narrow(0, 0, 2).toFloatArray()).isEqualTo(noise.toFloatArray());
      assertThat(chords.start().narrow(0, 2, 6).toFloatArray())
          .isEqualTo(chords.end().narrow(0, 0, 6).toFloatArray());
      assertThat(chords.start().narrow(0, 8, 8).toFloatArray())
          .isEqualTo(chords.start().narrow(0, 0, 8).toFloatArray());
      assertThat(chords.condition().text().size(0)).isEqualTo(16);
    }
  }

  @Test
  void aMatchedStudentIsComparedAsItIsGuided() {
    // Networks that say c z: guided by 3 from the empty caption (0), they say 3 c z.
    Net network = new Formula((z, timesteps, told) -> z.mul(told.text().narrow(0, 0, z.size(0))));
    var teacher = new Task.Teacher(network, Gaussian.scheduler(PredictionType.EPSILON));
    Task task = Gaussian.task(new Gaussian(), teacher, network);
    PerflowOptions matched =
        PerflowOptions.PUBLISHED.with(
            o -> o.guidanceMode(GuidanceMode.MATCHED).guidance(3).solvingSteps(1));
    try (Scope scope = Scope.open();
        PerflowObjective objective = new PerflowObjective(task, matched)) {
      ChordSource.Draw ones = ones(1, 0.75);
      var draw =
          new ChordSource.Draw(
              ones.z0(),
              ones.noise(),
              ones.t(),
              Conditioning.of(Tensor.full(0.5, 2, 1)),
              new boolean[] {true, false});
      PiecewiseFlow flow = objective.flow(4);
      PerflowObjective.Outcome outcome =
          objective.evaluate(flow, source(task, matched).solved(flow, draw, 1));
      // One solver step a window: the student that is its teacher has nothing to learn.
      assertThat(outcome.prediction().toDoubleArray())
          .containsExactly(new double[] {1.5, 0}, within(1e-6));
      assertThat(outcome.target().toDoubleArray())
          .containsExactly(new double[] {1.5, 0}, within(1e-4));
    }
  }

  @Test
  void pooledTrainingDrawsTimesInEachChordsOwnWindow() {
    // The teacher as student: its mean loss is the same wherever its chords come from, and times of
    // other windows would change it.
    PerflowOptions options =
        PerflowOptions.PUBLISHED.withSimulatedStarts(true).withDrawsPerChord(2).withChordPool(1024);
    double pooled = 0;
    double own = 0;
    try (PerflowObjective with = objective(options);
        PerflowObjective without = objective(options.withChordPool(0));
        Rng a = Rng.seeded(1);
        Rng b = Rng.seeded(1)) {
      for (int i = 0; i < 200; i++) {
        try (Scope scope = Scope.open()) {
          long[] examples = new long[64];
          pooled += with.loss(new Objective.Step(i, 0, examples, a)).item() / 200;
          own += without.loss(new Objective.Step(i, 0, examples, b)).item() / 200;
        }
      }
    }
    assertThat(pooled).isCloseTo(own, within(0.1 * own));
  }

  @Test
  void aPoolHoldsAtLeastWhatIsAddedAtOnce() {
    PerflowOptions options = PerflowOptions.PUBLISHED.withSimulatedStarts(true).withChordPool(32);
    try (Scope scope = Scope.open();
        PerflowObjective objective = objective(options);
        Rng rng = Rng.seeded(1)) {
      var step = new Objective.Step(0, 0, new long[64], rng);
      assertThatThrownBy(() -> objective.loss(step)).hasMessageContaining("chordPool is 32");
    }
  }

  @Test
  void velocityMatchingOfAnEpsilonStudentIsItsReweightedLoss() {
    try (Scope scope = Scope.open()) {
      PerflowOptions options = PerflowOptions.PUBLISHED.withMatching(Matching.VELOCITY);
      PerflowObjective.Outcome outcome = outcome(options, ones(0.625));
      double d = outcome.prediction().sub(outcome.target()).item();
      double b = 3.23773290; // of v = A z + B ε at τ = 625
      assertThat(outcome.loss().item()).isCloseTo(b * b * d * d, within(1e-5 * b * b * d * d));
    }
  }

  @Test // one ε all over the window: a DDIM step from any point of the path hits its end
  void theDdimPathAsksForTheSameEpsilonAtEveryPoint() {
    try (Scope scope = Scope.open()) {
      PerflowOptions options = PerflowOptions.PUBLISHED.withPath(Curve.DDIM);
      PerflowObjective.Outcome start = outcome(options, ones(0.75));
      PerflowObjective.Outcome inside = outcome(options, ones(0.625));
      double epsilon = start.target().item();
      assertThat(inside.target().item()).isEqualTo(epsilon);
      double end = ddim(749, 499, start.zt().item(), epsilon);
      assertThat(ddim(624, 499, inside.zt().item(), epsilon)).isCloseTo(end, within(1e-5));
    }
  }

  private static double ddim(int from, int to, double z, double epsilon) {
    return PredictionType.EPSILON.ddim(Gaussian.SCHEDULE, from, to).a() * z
        + PredictionType.EPSILON.ddim(Gaussian.SCHEDULE, from, to).b() * epsilon;
  }

  @Test
  void distancesAndWeightsByHand() {
    try (Scope scope = Scope.open()) {
      Tensor d = Tensor.of(new float[] {3, -4, 0});
      assertThat(Distance.PSEUDO_HUBER.of(d, 2).item())
          .isCloseTo((Math.sqrt(13) - 2 + Math.sqrt(20) - 2) / 3, within(1e-6));
    }
    var reciprocal = PerflowOptions.Reweighting.RECIPROCAL;
    assertThat(PerflowObjective.weight(reciprocal, FOUR, 1)).isCloseTo(10 / 2.3, within(1e-12));
    assertThat(PerflowObjective.weight(reciprocal, FOUR, 0.5)).isCloseTo(2 / 2.3, within(1e-12));
    double[] byWindow = {1.0, 0.7, 0.3, 0.2};
    Arrays.setAll(
        byWindow,
        i -> PerflowObjective.weight(PerflowOptions.Reweighting.RCP_WIN, FOUR, byWindow[i]));
    assertThat(byWindow).containsExactly(new double[] {1.6, 1.2, 0.8, 0.4}, within(1e-12));
  }

  @Test
  void aPoolThatIsNoMultipleOfTheWindowsIsFilledAllTheSame() {
    PerflowOptions options =
        PerflowOptions.PUBLISHED.withSimulatedStarts(true).withDrawsPerChord(4).withChordPool(35);
    try (PerflowObjective objective = objective(options);
        Scope scope = Scope.open();
        Rng rng = Rng.seeded(0)) {
      Tensor loss = objective.loss(new Objective.Step(0, 0, new long[16], rng));
      assertThat(loss.item()).isFinite();
      assertThat(objective.state().get("chords.added").toLongArray()).containsExactly(32);
    }
  }

  @Test
  void aBatchThatDoesNotDivideIsRefused() {
    PerflowObjective objective = objective(PerflowOptions.PUBLISHED.withSimulatedStarts(true));
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0)) {
      var step = new Objective.Step(0, 0, new long[6], rng);
      assertThatThrownBy(() -> objective.loss(step)).hasMessageContaining("multiple of 4");
    }
  }
}
