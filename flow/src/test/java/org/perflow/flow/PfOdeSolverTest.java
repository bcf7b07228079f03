package org.perflow.flow;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.flow.TimeWindows.Window;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class PfOdeSolverTest {
  private static final TimeWindows FOUR = new TimeWindows(4);
  private final NoiseSchedule exact = NoiseScheduleTest.exact();

  /** The perfect ε-network of N(0, 1) data: ε = σ_i z; its exact flow is the identity. */
  private Denoiser gaussian() {
    return (z, timesteps) -> {
      float[] sigma = timesteps.toFloatArray();
      for (int i = 0; i < sigma.length; i++) {
        sigma[i] = (float) exact.sigma((int) sigma[i]);
      }
      return z.mul(Tensor.of(sigma, sigma.length, 1));
    };
  }

  @Test
  void nodes() {
    PfOdeSolver eight = new PfOdeSolver(exact, PredictionType.EPSILON, 8);
    Window noisiest = FOUR.window(4);
    assertThat(eight.nodes(noisiest)).containsExactly(999, 968, 936, 905, 874, 843, 812, 780);
    assertThat(eight.destinations(noisiest))
        .containsExactly(968, 936, 905, 874, 843, 812, 780, 749);
    assertThat(eight.withOfficialStride().destinations(noisiest))
        .containsExactly(968, 937, 905, 874, 843, 812, 781, 749);
    assertThat(eight.nodes(FOUR.window(1))).containsExactly(249, 218, 186, 155, 124, 93, 62, 30);
    assertThat(eight.withOfficialStride().destinations(FOUR.window(1))).endsWith(31, -1);
    PfOdeSolver ten = new PfOdeSolver(exact, PredictionType.EPSILON, 10);
    assertThat(ten.nodes(noisiest)).startsWith(999, 974).endsWith(774);
    assertThat(ten.destinations(noisiest)).startsWith(974).endsWith(749);
    PfOdeSolver two = new PfOdeSolver(exact, PredictionType.EPSILON, 2);
    assertThat(two.nodes(FOUR.window(2))).containsExactly(499, 374);
    assertThat(two.destinations(FOUR.window(2))).containsExactly(374, 249);
    assertThat(
            new PfOdeSolver(exact, PredictionType.EPSILON, 1).nodes(new TimeWindows(3).window(2)))
        .containsExactly(666); // where the start of training data has 665
  }

  @ParameterizedTest // z_s = 1 in all four windows at once
  @CsvSource({
    "1, false, 0.98525406, 0.95087731, 0.91726229, 0.83810730",
    "8, true, 0.99807973, 0.99384352, 0.98970955, 0.97690150",
    "8, false, 0.99804628, 0.99374054, 0.98954043, 0.97657301",
    "10, false, 0.99843677, 0.99499034, 0.99162625, 0.98100680"
  })
  void gaussianTeacher(int steps, boolean official, double w4, double w3, double w2, double w1) {
    PfOdeSolver solver = new PfOdeSolver(exact, PredictionType.EPSILON, steps);
    if (official) {
      solver = solver.withOfficialStride();
    }
    try (Scope scope = Scope.open()) {
      Tensor ends = solver.solve(gaussian(), Tensor.full(1, 4, 1), FOUR.noisyToClean());
      assertThat(ends.toDoubleArray()).containsExactly(new double[] {w4, w3, w2, w1}, within(2e-6));
    }
  }

  @ParameterizedTest // S = 10
  @CsvSource({
    "velocity, 0.00625291, 0.02003864, 0.03349499, 0.07597280",
    "ddim_eps, 0.99240756, 0.93736717, 0.75151399, 0.35441896",
    "diff_eps, 0.74487884, 0.61719768, 0.47458884, 0.33980742"
  })
  void targetsOfTheGaussianTeacher(String key, double w4, double w3, double w2, double w1) {
    PfOdeSolver solver = new PfOdeSolver(exact, PredictionType.EPSILON, 10);
    PiecewiseFlow flow = new PiecewiseFlow(exact, FOUR, Parameterization.parse(key));
    double[] t = {1, 0.75, 0.5, 0.25};
    try (Scope scope = Scope.open()) {
      Tensor start = Tensor.full(1, 4, 1);
      Tensor end = solver.solve(gaussian(), start, FOUR, t);
      assertThat(flow.target(start, end, t).toDoubleArray())
          .containsExactly(new double[] {w4, w3, w2, w1}, within(6e-6));
    }
  }

  @Test // with one step the ddim target is σ at the window start
  void oneStepTargetIsTheTeachersOwnEpsilon() {
    double[] t = {1, 0.75, 0.5, 0.25};
    try (Scope scope = Scope.open()) {
      Tensor start = Tensor.full(1, 4, 1);
      Tensor end =
          new PfOdeSolver(exact, PredictionType.EPSILON, 1).solve(gaussian(), start, FOUR, t);
      PiecewiseFlow flow = new PiecewiseFlow(exact, FOUR, Parameterization.DDIM_EPS);
      assertThat(flow.target(start, end, t).toDoubleArray())
          .containsExactly(
              new double[] {0.99766723, 0.97127571, 0.84990020, 0.56970833}, within(2e-6));
    }
  }

  @Test
  void predictionsOfEpsilonVelocityAndDataLeadToTheSamePlace() {
    double[] out = new double[3];
    double z = 0.8;
    double noise = -0.3;
    double alpha = exact.alpha(600);
    double sigma = exact.sigma(600);
    double data = (z - sigma * noise) / alpha;
    double[] outputs = {noise, alpha * noise - sigma * data, data};
    for (PredictionType type : PredictionType.values()) {
      Affine step = type.ddim(exact, 600, 350);
      out[type.ordinal()] = ParameterizationTest.apply(step, z, outputs[type.ordinal()]);
    }
    double expected = exact.alpha(350) * data + exact.sigma(350) * noise;
    assertThat(out).containsExactly(new double[] {expected, expected, expected}, within(1e-12));
  }

  @Test // in bf16, ᾱ[0] would round to 1 and the last σ to 0
  void scalarsStayFloat32ForLowPrecisionLatents() {
    PfOdeSolver solver = new PfOdeSolver(exact, PredictionType.EPSILON, 5);
    List<Window> last = List.of(FOUR.window(1));
    try (Scope scope = Scope.open()) {
      Denoiser one = (z, timesteps) -> z.mul(0).add(1); // constant ε: the answer is exact
      Tensor low = solver.solve(one, Tensor.zeros(DType.BF16, 1, 1), last);
      Tensor full = solver.solve(one, Tensor.zeros(DType.F32, 1, 1), last);
      assertThat(low.dtype()).isEqualTo(DType.F32);
      assertThat(full.item()).isCloseTo(-0.66375547, within(1e-6));
      assertThat(low.item()).isCloseTo(full.item(), within(1e-6));
    }
  }

  @Test
  void refusesMoreStepsThanLevels() {
    assertThatThrownBy(
            () -> new PfOdeSolver(exact, PredictionType.EPSILON, 251).nodes(FOUR.window(1)))
        .hasMessageContaining("at most 250 steps");
    assertThatThrownBy(() -> new PfOdeSolver(exact, PredictionType.EPSILON, 0))
        .hasMessageContaining("at least 1");
  }

  @Test
  void rowsDoNotDependOnTheirNeighbours() {
    PfOdeSolver solver = new PfOdeSolver(exact, PredictionType.EPSILON, 8);
    float[] values = {0.3f, -1.2f, 2f};
    double[] t = {0.9, 0.1, 0.6};
    try (Scope scope = Scope.open()) {
      double[] together =
          solver.solve(gaussian(), Tensor.of(values, 3, 1), FOUR, t).toDoubleArray();
      double[] alone = new double[3];
      for (int i = 0; i < 3; i++) {
        Tensor row = Tensor.of(Arrays.copyOfRange(values, i, i + 1), 1, 1);
        alone[i] = solver.solve(gaussian(), row, FOUR, new double[] {t[i]}).item();
      }
      assertThat(together).containsExactly(alone);
    }
  }
}
