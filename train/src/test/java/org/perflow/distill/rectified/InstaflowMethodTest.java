package org.perflow.distill.rectified;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
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
import org.perflow.flow.Denoiser;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Objective;

class InstaflowMethodTest {
  private static final InstaflowMethod INSTAFLOW = new InstaflowMethod();
  private static final InstaflowOptions OPTIONS =
      InstaflowOptions.DEFAULTS.withGuidance(1).withPairs(512).withPairSteps(1);

  /** One step of it is the map z → 0.3 + z/2. */
  private static final Denoiser TEACHER = (z, t) -> z.mul(0.5).sub(0.3);

  @TempDir Path temp;

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  @Test
  void perceptualDistanceByHand() {
    try (Scope scope = Scope.open()) {
      Tensor a = InstaflowMethod.unit(Tensor.of(new float[] {3, 4}, 1, 2, 1, 1)); // 0.6, 0.8
      Tensor b = InstaflowMethod.unit(Tensor.of(new float[] {5, 0}, 1, 2, 1, 1)); // 1, 0
      assertThat(InstaflowMethod.perceptual(a, b).item()).isCloseTo(0.8, within(1e-6));
    }
  }

  /** A student that is right at pure noise, told 1000, and nowhere else. */
  @Test
  void distilsFromExactlyNoise() {
    Denoiser student =
        (z, t) -> TEACHER.predict(z, t).add(t.sub(1000).mul(10).reshape(z.size(0), 1, 1, 1));
    assertThat(loss(student, OPTIONS, 0.9)).isLessThan(1e-10);
    assertThat(loss(student, OPTIONS, 0.1)).isGreaterThan(1000);
  }

  /** The ring's features are z here, of two channels. */
  @Test
  void addsTheDistanceOfFeaturesByItsWeight() {
    Denoiser student = (z, t) -> TEACHER.predict(z, t).neg();
    double squares = loss(student, OPTIONS.withPerceptual(0), 0.9);
    double once = loss(student, OPTIONS.withPerceptual(1), 0.9) - squares;
    assertThat(once).isBetween(0.05, 4.0); // squared distances of unit vectors are
    assertThat(loss(student, OPTIONS.withPerceptual(2), 0.9) - squares)
        .isCloseTo(2 * once, within(1e-4));
    assertThat(loss(student, OPTIONS.withPerceptual(2), 0.1)) // reflow has none
        .isEqualTo(loss(student, OPTIONS.withPerceptual(0), 0.1));
  }

  @Test
  void learnsTheRingInOneStep() throws IOException {
    RingRecipe<?> recipe = RingRecipe.of("instaflow").trainedFor(500);
    try (Net student = recipe.student().get();
        Net before = RingNet.pretrained()) {
      var after = RingRun.train(recipe, student, temp, 1);
      var start = RingRun.figures(before, Ring.scheduler(), 2);
      System.out.println("instaflow, 1 step: " + after + ", teacher's DDIM in 2 " + start);
      assertThat(after.energy()).isLessThan(start.energy() / 2);
      assertThat(after.paired()).isLessThan(start.paired() / 2);
    }
  }

  private double loss(Denoiser student, InstaflowOptions options, double progress) {
    var flow = INSTAFLOW.scheduler(Ring.scheduler(), OPTIONS);
    Task task = new Normal(0.3, 0.5).task(TEACHER, flow, Formula.of(student), temp);
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(11);
        Objective objective = INSTAFLOW.objective(task, options)) {
      long[] all = LongStream.range(0, 512).toArray();
      return objective.loss(new Objective.Step(0, progress, all, rng)).item();
    }
  }
}
