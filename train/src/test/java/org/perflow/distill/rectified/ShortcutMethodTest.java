package org.perflow.distill.rectified;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.LongStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.distill.Formula;
import org.perflow.distill.Net;
import org.perflow.distill.Normal;
import org.perflow.distill.Task;
import org.perflow.distill.ring.Ring;
import org.perflow.distill.ring.RingNet;
import org.perflow.distill.ring.RingRecipe;
import org.perflow.distill.ring.RingRun;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Objective;

class ShortcutMethodTest {
  private static final ShortcutMethod SHORTCUT = new ShortcutMethod();
  private static final ShortcutOptions OPTIONS =
      ShortcutOptions.DEFAULTS.withGuidance(1).withPairs(512).withPairSteps(1).withFinestSteps(16);

  @TempDir Path temp;

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  @Test
  void stepsAreThoseOfSampling() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(1)) {
      ShortcutMethod.Steps steps = ShortcutMethod.steps(4000, OPTIONS, rng);
      assertThat(steps.doubled()).isEqualTo(1000);
      Map<Double, Integer> lengths = new TreeMap<>();
      for (int i = 0; i < 4000; i++) {
        double t = steps.t()[i];
        double d = steps.d()[i];
        if (i < 1000) {
          lengths.merge(d, 1, Integer::sum);
          assertThat(t / d).isBetween(1.0, 1 / d).isEqualTo(Math.rint(t / d));
        } else {
          assertThat(d).isEqualTo(1.0 / 16);
          assertThat(t).isBetween(0.001, 1.0);
        }
      }
      assertThat(lengths.keySet()).containsExactly(0.125, 0.25, 0.5, 1.0);
      assertThat(lengths.values()).allMatch(count -> count > 200 && count < 300);
    }
  }

  /** v = t z + d: from z = 2 at t = 1 in two steps of 1/4, by hand. */
  @Test
  void targetIsTheMeanOfTwoHalfSteps() {
    Net net =
        new Formula(
            (z, t, condition) -> {
              Tensor number = condition.timestepCond().reshape(z.size(0), 1, 1, 1);
              return z.mul(t.reshape(z.size(0), 1, 1, 1).div(1000)).add(number);
            });
    try (Scope scope = Scope.open()) {
      Conditioning told = new Normal(0, 1).nullCondition();
      Tensor z = Tensor.full(2, 1, 2, 1, 1);
      double first = 2 + 0.25;
      double second = (2 - 0.25 * first) * 0.75 + 0.25;
      Tensor target = ShortcutMethod.target(net, told, z, new double[] {1}, new double[] {0.5});
      assertThat(target.max().item()).isCloseTo((first + second) / 2, within(1e-6));
    }
  }

  /** Along straight lines a long step is two short ones: pairs of z → 0.3 + z/2. */
  @Test
  void theStraightVelocityHasNoLoss() {
    Denoiser teacher = (z, t) -> z.mul(0.5).sub(0.3);
    Denoiser straight = // specification 5.1
        (z, timesteps) -> {
          Tensor u = timesteps.div(1000).neg().add(1).reshape(z.size(0), 1, 1, 1);
          return z.sub(u.mul(0.3)).div(u.mul(-0.5).add(1)).mul(0.5).sub(0.3);
        };
    var flow = StraightLines.scheduler("FlowMatchEulerDiscreteScheduler", 1, 1);
    Net student = Formula.of(straight);
    Task task = new Normal(0.3, 0.5).task(teacher, flow, student, temp);
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(11);
        Objective objective = SHORTCUT.objective(task, OPTIONS.withCoupling(Coupling.PAIRS))) {
      long[] all = LongStream.range(0, 512).toArray();
      assertThat(objective.loss(new Objective.Step(0, 0, all, rng)).item()).isLessThan(1e-10);
    }
  }

  @Test
  void theSamplerTellsTheStep() {
    try (Scheduler scheduler =
        Schedulers.create(SHORTCUT.scheduler(Ring.scheduler(), OPTIONS), 4)) {
      assertThat(scheduler.timesteps()).containsExactly(1000, 750, 500, 250);
      for (int i = 0; i < 4; i++) {
        assertThat(scheduler.timestepCond(i)).isEqualTo(0.25);
      }
    }
  }

  @Test
  void learnsTheRingInFourSteps() throws IOException {
    RingRecipe<?> recipe = RingRecipe.of("shortcut").trainedFor(600);
    try (Net student = recipe.student().get();
        Net before = RingNet.pretrained()) {
      var after = RingRun.train(recipe, student, temp, 4);
      var start = RingRun.figures(before, Ring.scheduler(), 4);
      System.out.println("shortcut, 4 steps: " + after + ", teacher's DDIM " + start);
      assertThat(after.energy()).isLessThan(start.energy() / 1.3);
    }
  }
}
