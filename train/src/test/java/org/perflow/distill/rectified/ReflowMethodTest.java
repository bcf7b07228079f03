package org.perflow.distill.rectified;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
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
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Objective;

class ReflowMethodTest {
  private static final double MU = 0.3;
  private static final double C = 0.5;
  private static final Normal DATA = new Normal(MU, C);
  private static final ReflowMethod REFLOW = new ReflowMethod();
  private static final ReflowOptions OPTIONS =
      ReflowOptions.DEFAULTS.withGuidance(1).withPairs(512).withPairSteps(1);

  @TempDir Path temp;

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  /** 2-rectified flow of N(μ, c²) (specification 5.1): its paths are the lines themselves. */
  @Test
  void theStraightVelocityHasNoLossOnPairs() {
    assertThat(loss(straight(), OPTIONS, 512)).isLessThan(1e-10);
    assertThat(loss(curved(), OPTIONS, 512)).isGreaterThan(0.05);
  }

  /** The least loss with any noise is the variance of noise − data given z_t: π c / 2. */
  @Test
  void theIndependentOptimumHasTheVarianceThatIsLeft() {
    ReflowOptions any = OPTIONS.withCoupling(Coupling.DATA);
    double least = Math.PI * C / 2;
    assertThat(loss(curved(), any, 40_000)).isCloseTo(least, within(0.025));
    assertThat(loss(straight(), any, 40_000)).isGreaterThan(1.1 * least);
  }

  /** One Euler step of the straight velocity is the teacher's map; of the curved one, the mean. */
  @Test
  void oneStepOfTheStudentsScheduler() {
    ObjectNode config = REFLOW.scheduler(Ring.scheduler(), OPTIONS);
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(3);
        Scheduler scheduler = Schedulers.create(config, 1)) {
      Tensor z = Tensor.randn(rng, 5, 2, 1, 1);
      Tensor now = Tensor.full(scheduler.timesteps()[0], 5);
      Tensor end = scheduler.step(straight().predict(z, now), 0, z, x -> x);
      assertThat(end.sub(z.mul(C).add(MU)).abs().max().item()).isLessThan(1e-6);
      Tensor middle = scheduler.step(curved().predict(z, now), 0, z, x -> x);
      assertThat(middle.sub(MU).abs().max().item()).isLessThan(1e-6);
    }
  }

  @Test
  void learnsTheRingInTwoSteps() throws IOException {
    RingRecipe<?> recipe = RingRecipe.of("reflow").trainedFor(400);
    try (Net student = recipe.student().get();
        Net before = RingNet.pretrained()) {
      var after = RingRun.train(recipe, student, temp, 2);
      var start = RingRun.figures(before, Ring.scheduler(), 2);
      System.out.println("reflow, 2 steps: " + after + ", teacher's DDIM " + start);
      assertThat(after.energy()).isLessThan(start.energy() / 2);
      assertThat(after.paired()).isLessThan(start.paired() / 2);
    }
  }

  private double loss(Denoiser student, ReflowOptions options, int rows) {
    // A teacher whose one Euler step is the map z → μ + c z.
    Denoiser teacher = (z, t) -> z.mul(1 - C).sub(MU);
    ObjectNode flow = REFLOW.scheduler(Ring.scheduler(), OPTIONS);
    Task task = DATA.task(teacher, flow, Formula.of(student), temp);
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(11);
        Objective objective = REFLOW.objective(task, options)) {
      return objective
          .loss(new Objective.Step(0, 0, LongStream.range(0, rows).toArray(), rng))
          .item();
    }
  }

  /** −v2(z, u) = −μ − (c − 1)(z − u μ)/(1 − u + u c), u = 1 − t. */
  private static Denoiser straight() {
    return (z, timesteps) -> {
      Tensor u = u(timesteps);
      Tensor slope = z.sub(u.mul(MU)).div(u.mul(C - 1).add(1));
      return slope.mul(1 - C).sub(MU);
    };
  }

  /** −v1(z, u) = −μ − (u c² − (1 − u))/(u² c² + (1 − u)²) (z − u μ). */
  private static Denoiser curved() {
    return (z, timesteps) -> {
      Tensor u = u(timesteps);
      Tensor rest = u.neg().add(1);
      Tensor variance = u.mul(C).square().add(rest.square());
      Tensor slope = u.mul(C * C).sub(rest).div(variance);
      return z.sub(u.mul(MU)).mul(slope).add(MU).neg();
    };
  }

  private static Tensor u(Tensor timesteps) {
    return timesteps.div(1000).neg().add(1).reshape(timesteps.size(0), 1, 1, 1);
  }
}
