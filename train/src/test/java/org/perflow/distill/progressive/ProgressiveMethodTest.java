package org.perflow.distill.progressive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.function.IntToDoubleFunction;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.distill.Formula;
import org.perflow.distill.Net;
import org.perflow.distill.Normal;
import org.perflow.distill.Task;
import org.perflow.distill.rectified.StraightLines;
import org.perflow.distill.ring.Ring;
import org.perflow.distill.ring.RingNet;
import org.perflow.distill.ring.RingRecipe;
import org.perflow.distill.ring.RingRun;
import org.perflow.flow.Affine;
import org.perflow.flow.Denoiser;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Objective;

class ProgressiveMethodTest {
  private static final double MU = 0.3;
  private static final double C = 0.5;
  private static final ProgressiveMethod PROGRESSIVE = new ProgressiveMethod();
  private static final ProgressiveOptions OPTIONS =
      ProgressiveOptions.DEFAULTS.with(o -> o.startSteps(8).endSteps(2).guidance(1));
  private static final NoiseSchedule EXACT = NoiseSchedule.of(Ring.scheduler(), DType.F64);

  @TempDir Path temp;

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  /** Specification 5.3. */
  @Test
  void ddimToTheTargetEndsWhereTheTeacherDid() {
    Random random = new Random(1);
    for (int[] step : new int[][] {{999, 749}, {499, 249}, {249, -1}, {7, 5}}) {
      double alphaT = EXACT.alpha(step[0]);
      double sigmaT = EXACT.sigma(step[0]);
      double alphaS = EXACT.alpha(step[1]);
      double sigmaS = EXACT.sigma(step[1]);
      double zt = random.nextGaussian();
      double zs = random.nextGaussian();
      Affine data = ProgressiveMethod.data(alphaT, sigmaT, alphaS, sigmaS);
      double x = data.a() * zt + data.b() * zs;
      double ddim = alphaS * x + sigmaS * (zt - alphaT * x) / sigmaT;
      assertThat(ddim).isCloseTo(zs, within(1e-12));
      Affine target = ProgressiveMethod.target(EXACT, step[0], step[1]);
      double v = target.a() * zt + target.b() * zs;
      assertThat(alphaT * zt - sigmaT * v).isCloseTo(x, within(1e-12)); // x0 = α z − σ v
    }
  }

  /** The nodes of N steps are every second one of 2 N, and where the student's sampler is. */
  @Test
  void nodesAreTheSamplers() {
    for (int steps : new int[] {1, 2, 4, 8, 16, 32}) {
      for (int i = 0; i <= steps; i++) {
        assertThat(ProgressiveMethod.node(1000, steps, i))
            .isEqualTo(ProgressiveMethod.node(1000, 2 * steps, 2 * i));
      }
      double[] nodes = new double[steps];
      Arrays.setAll(nodes, index(steps));
      var config = PROGRESSIVE.scheduler(Ring.scheduler(), OPTIONS);
      assertThat(Schedulers.create(config, steps).timesteps()).isEqualTo(nodes);
      assertThat(ProgressiveMethod.node(1000, steps, steps)).isEqualTo(-1);
    }
  }

  private static IntToDoubleFunction index(int steps) {
    return i -> ProgressiveMethod.node(1000, steps, i);
  }

  /** The teacher of N(μ, c²) is linear, so one step can be what two of its steps are. */
  @Test
  void theFirstStageHasNoLossAtTheClosedForm() {
    assertThat(loss(gaussianStudent(4, 0), 0)).isLessThan(1e-8);
    double weights = 0;
    for (int i = 0; i < 4; i++) {
      double signal = EXACT.alphaBar(ProgressiveMethod.node(1000, 4, i));
      weights += Math.max(signal, 1 - signal) / 4;
    }
    assertThat(loss(gaussianStudent(4, 0.1), 0)).isCloseTo(0.01 * weights, within(2e-4));
  }

  /** Steps towards one point always agree, so a student that says it is its own two steps. */
  @Test
  void theNextStagesTeacherIsTheStudent() {
    Denoiser constant =
        (z, timesteps) -> {
          double[] index = timesteps.toDoubleArray();
          return rows(
              z, (i, value) -> (alpha(index[i]) * value - 0.7) / sigma(index[i])); // x0 = 0.7
        };
    assertThat(loss(constant, 0.25)).isGreaterThan(0.01);
    assertThat(loss(constant, 0.5)).isLessThan(1e-8);
  }

  @Test
  void refusesWhatItCannotServe() {
    var flow = StraightLines.scheduler("FlowMatchEulerDiscreteScheduler", 4, 1);
    assertThatThrownBy(() -> PROGRESSIVE.require(flow, OPTIONS)).hasMessageContaining("reflow");
    assertThatThrownBy(() -> OPTIONS.withEndSteps(3)).hasMessageContaining("2, 4, 8");
  }

  @Test
  void learnsTheRingInFourSteps() throws IOException {
    RingRecipe<?> recipe = RingRecipe.of("progressive").trainedFor(500);
    try (Net student = recipe.student().get();
        Net before = RingNet.pretrained()) {
      var after = RingRun.train(recipe, student, temp, 4);
      var start = RingRun.figures(before, Ring.scheduler(), 4);
      System.out.println("progressive, 4 steps: " + after + ", teacher's DDIM " + start);
      assertThat(after.energy()).isLessThan(start.energy() / 1.5);
      assertThat(after.paired()).isLessThan(start.paired() / 1.5);
    }
  }

  private double loss(Denoiser student, double progress) {
    Denoiser teacher =
        (z, timesteps) -> {
          double[] index = timesteps.toDoubleArray();
          return rows(z, (i, value) -> epsilon(value, index[i]));
        };
    Normal data = new Normal(MU, C);
    Task task = data.task(teacher, Ring.scheduler(), Formula.of(student), temp);
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(11);
        Objective objective = PROGRESSIVE.objective(task, OPTIONS)) {
      return objective.loss(new Objective.Step(0, progress, new long[2000], rng)).item();
    }
  }

  /** v of one of {@code steps} steps that ends where two of the teacher's end, and some more. */
  private static Denoiser gaussianStudent(int steps, double error) {
    return (z, timesteps) -> {
      double[] index = timesteps.toDoubleArray();
      return rows(
          z,
          (i, value) -> {
            double t = index[i];
            double s =
                ddim(ddim(value, t, t - 500.0 / steps), t - 500.0 / steps, t - 1000.0 / steps);
            double to = t - 1000.0 / steps;
            double ratio = sigma(to) / sigma(t);
            double x = (s - ratio * value) / (alpha(to) - ratio * alpha(t));
            return (alpha(t) * value - x) / sigma(t) + error;
          });
    };
  }

  private static double ddim(double z, double from, double to) {
    double epsilon = epsilon(z, from);
    double x = (z - sigma(from) * epsilon) / alpha(from);
    return alpha(to) * x + sigma(to) * epsilon;
  }

  /** Of N(μ, c²): σ (z − α μ)/(α² c² + σ²). */
  private static double epsilon(double z, double index) {
    double a = alpha(index);
    double s = sigma(index);
    return s * (z - a * MU) / (a * a * C * C + s * s);
  }

  private static double alpha(double index) {
    return EXACT.alpha((int) index);
  }

  private static double sigma(double index) {
    return EXACT.sigma((int) index);
  }

  private interface RowFunction {
    double of(int row, double value);
  }

  private static Tensor rows(Tensor z, RowFunction function) {
    float[] values = z.toFloatArray();
    int width = values.length / (int) z.size(0);
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) function.of(i / width, values[i]);
    }
    return Tensor.of(values, z.shape());
  }
}
