package org.perflow.flow;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.io.Json;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** In float64, on data from N(μ, c²), whose probability flow has a closed form. */
class TeacherSolverTest {
  private static final double MEAN = 0.7;
  private static final double VARIANCE = 0.25;
  private static final TimeWindows FOUR = new TimeWindows(4);
  private static final NoiseSchedule EXACT = NoiseScheduleTest.exact();

  /** What the perfect network of that type says, each row at its own timestep. */
  private static Denoiser gaussian(NoiseSchedule schedule, PredictionType type) {
    return (z, timesteps) -> {
      double[] states = z.to(DType.F64).toDoubleArray();
      float[] index = timesteps.toFloatArray();
      double[] output = new double[states.length];
      for (int i = 0; i < states.length; i++) {
        double alpha = schedule.alpha((int) index[i]);
        double sigma = schedule.sigma((int) index[i]);
        double noise = sigma * (states[i] - alpha * MEAN) / variance(alpha, sigma);
        double data = MEAN + alpha * VARIANCE * (states[i] - alpha * MEAN) / variance(alpha, sigma);
        output[i] =
            switch (type) {
              case EPSILON -> noise;
              case V_PREDICTION -> alpha * noise - sigma * data;
              case SAMPLE -> data;
            };
      }
      return Tensor.of(output, z.shape());
    };
  }

  private static ObjectNode stableDiffusion() {
    return Json.MAPPER
        .createObjectNode()
        .put("_class_name", "DDIMScheduler")
        .put("beta_start", 0.00085)
        .put("beta_end", 0.012)
        .put("beta_schedule", "scaled_linear")
        .put("clip_sample", false);
  }

  private static double variance(double alpha, double sigma) {
    return alpha * alpha * VARIANCE + sigma * sigma;
  }

  private static double exact(NoiseSchedule schedule, double z, int from, int to) {
    double before = variance(schedule.alpha(from), schedule.sigma(from));
    double after = variance(schedule.alpha(to), schedule.sigma(to));
    return schedule.alpha(to) * MEAN
        + Math.sqrt(after / before) * (z - schedule.alpha(from) * MEAN);
  }

  private static PfOdeSolver solver(TeacherSolver method, int evaluations) {
    return new PfOdeSolver(EXACT, PredictionType.EPSILON, method, evaluations);
  }

  /** Of a start at 1.3 in each window, noisiest first, all in one batch. */
  private static double[] errors(TeacherSolver method, int evaluations) {
    try (Scope scope = Scope.open()) {
      Tensor start = Tensor.of(new double[] {1.3, 1.3, 1.3, 1.3}, 4, 1);
      Denoiser teacher = gaussian(EXACT, PredictionType.EPSILON);
      double[] ends =
          solver(method, evaluations).solve(teacher, start, FOUR.noisyToClean()).toDoubleArray();
      for (int i = 0; i < 4; i++) {
        TimeWindows.Window window = FOUR.window(4 - i);
        ends[i] -= exact(EXACT, 1.3, window.startIndex(1000), window.endIndex(1000));
      }
      return ends;
    }
  }

  @ParameterizedTest // 50 and 250 steps a window, whose nodes need no rounding
  @CsvSource({"DDIM, 1", "DPMPP_2M, 2", "DEIS_2, 2", "HEUN, 2"})
  void orderInEveryWindow(TeacherSolver method, int order) {
    int cost = method.evaluationsPerStep();
    double[] coarse = errors(method, 50 * cost);
    double[] fine = errors(method, 250 * cost);
    for (int i = 0; i < 4; i++) {
      double slope = Math.log(Math.abs(coarse[i] / fine[i])) / Math.log(5);
      System.out.printf(
          "order %s, window %d: %.2f (%.1e, %.1e)%n", method, 4 - i, slope, coarse[i], fine[i]);
      // The table's cleanest levels lie so far apart that the last window gets no finer there.
      double slack = i == 3 ? 0.45 : 0.15;
      assertThat(slope).as("window " + (4 - i)).isBetween(order - slack, order + 0.15);
    }
  }

  @ParameterizedTest // from level to level, each row its own way
  @CsvSource({"DDIM, 1", "DPMPP_2M, 2", "DEIS_2, 2", "HEUN, 2"})
  void orderBetweenAnyLevels(TeacherSolver method, int order) {
    int[] from = {999, 899, 700};
    int[] to = {399, 299, 300};
    double[][] errors = new double[2][];
    for (int run = 0; run < 2; run++) {
      int steps = run == 0 ? 25 : 100;
      try (Scope scope = Scope.open()) {
        Tensor start = Tensor.of(new double[] {1.3, -0.4, 0.9}, 3, 1);
        PfOdeSolver solver = solver(method, steps * method.evaluationsPerStep());
        errors[run] =
            solver
                .solve(gaussian(EXACT, PredictionType.EPSILON), start, from, to)
                .sub(
                    Tensor.of(
                        new double[] {
                          exact(EXACT, 1.3, 999, 399),
                          exact(EXACT, -0.4, 899, 299),
                          exact(EXACT, 0.9, 700, 300)
                        },
                        3,
                        1))
                .toDoubleArray();
      }
    }
    for (int i = 0; i < from.length; i++) {
      double slope = Math.log(Math.abs(errors[0][i] / errors[1][i])) / Math.log(4);
      System.out.printf("order %s, %d to %d: %.2f%n", method, from[i], to[i], slope);
      assertThat(slope).as(from[i] + " to " + to[i]).isBetween(order - 0.15, order + 0.35);
    }
  }

  @ParameterizedTest
  @EnumSource(TeacherSolver.class)
  void windowsAreLevelsAndPredictionsAgree(TeacherSolver method) {
    double[] t = {0.9, 0.1, 0.6};
    int[] from = {999, 249, 749};
    int[] to = {749, -1, 499};
    try (Scope scope = Scope.open()) {
      Tensor start = Tensor.of(new double[] {0.3, -1.2, 2}, 3, 1);
      double[] expected = null;
      for (PredictionType type : PredictionType.values()) {
        PfOdeSolver solver = new PfOdeSolver(EXACT, type, method, 10);
        Denoiser teacher = gaussian(EXACT, type);
        double[] ends = solver.solve(teacher, start, FOUR, t).toDoubleArray();
        assertThat(solver.solve(teacher, start, from, to).toDoubleArray()).containsExactly(ends);
        expected = expected == null ? ends : expected;
        assertThat(ends).containsExactly(expected, within(1e-12));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(TeacherSolver.class)
  void rowsDoNotDependOnTheirNeighboursAndCostIsAsSaid(TeacherSolver method) {
    AtomicInteger calls = new AtomicInteger();
    Denoiser teacher = gaussian(EXACT, PredictionType.EPSILON);
    Denoiser counted =
        (z, timesteps) -> {
          calls.incrementAndGet();
          return teacher.predict(z, timesteps);
        };
    double[] values = {0.3, -1.2, 2};
    double[] t = {0.9, 0.1, 0.6};
    PfOdeSolver solver = solver(method, 8);
    try (Scope scope = Scope.open()) {
      double[] together = solver.solve(counted, Tensor.of(values, 3, 1), FOUR, t).toDoubleArray();
      assertThat(calls).hasValue(8);
      for (int i = 0; i < 3; i++) {
        Tensor row = Tensor.of(new double[] {values[i]}, 1, 1);
        assertThat(solver.solve(teacher, row, FOUR, new double[] {t[i]}).item())
            .isEqualTo(together[i]);
      }
    }
  }

  /** The same numbers from the samplers, whose golden values come from diffusers. */
  @ParameterizedTest
  @CsvSource({"DPMPP_2M, dpmpp-2m", "DEIS_2, deis", "DDIM, ddim"})
  void isTheSamplerOnItsTimesteps(TeacherSolver method, String name) {
    ObjectNode config =
        Schedulers.config(name, stableDiffusion())
            .put("timestep_spacing", "trailing")
            .put("solver_order", 2)
            .put("lower_order_final", false)
            .put("final_sigmas_type", "sigma_min")
            .put("set_alpha_to_one", false);
    NoiseSchedule schedule = NoiseSchedule.stableDiffusion();
    Denoiser teacher = gaussian(schedule, PredictionType.EPSILON);
    try (Scope scope = Scope.open();
        Scheduler sampler = Schedulers.create(config, 20)) {
      assertThat(sampler.timesteps()).startsWith(999, 949).endsWith(49);
      Tensor z = Tensor.of(new double[] {1.3}, 1, 1);
      Tensor start = z;
      for (int i = 0; i < 20; i++) {
        Tensor timestep = Tensor.full(sampler.timesteps()[i], 1);
        z = sampler.step(teacher.predict(z, timestep), i, z, Golden.NO_NOISE);
      }
      PfOdeSolver solver = new PfOdeSolver(schedule, PredictionType.EPSILON, method, 20);
      double end = solver.solve(teacher, start, new int[] {999}, new int[] {-1}).item();
      assertThat(end).isCloseTo(z.item(), within(2e-6)); // the samplers round their levels
    }
  }

  @Test
  void oneHeunStepByHand() {
    double alpha = EXACT.alpha(999);
    double sigma = EXACT.sigma(999);
    double y = 1.3 / alpha; // dy/dρ = ε, ρ = σ/α
    double width = EXACT.sigma(749) / EXACT.alpha(749) - sigma / alpha;
    double first = sigma * (1.3 - alpha * MEAN) / variance(alpha, sigma);
    double there = EXACT.alpha(749) * (y + width * first);
    double second =
        EXACT.sigma(749)
            * (there - EXACT.alpha(749) * MEAN)
            / variance(EXACT.alpha(749), EXACT.sigma(749));
    try (Scope scope = Scope.open()) {
      Tensor start = Tensor.of(new double[] {1.3}, 1, 1);
      Tensor end =
          solver(TeacherSolver.HEUN, 2)
              .solve(gaussian(EXACT, PredictionType.EPSILON), start, FOUR, new double[] {1});
      assertThat(end.item())
          .isCloseTo(EXACT.alpha(749) * (y + width * (first + second) / 2), within(1e-12));
    }
  }

  @ParameterizedTest // a constant answer is followed exactly, whatever the steps
  @CsvSource({"DPMPP_2M, SAMPLE", "DEIS_2, EPSILON", "HEUN, EPSILON"})
  void constantAnswersAreExact(TeacherSolver method, PredictionType type) {
    double answer = 0.4;
    double z = 1.3;
    Affine other =
        type == PredictionType.SAMPLE
            ? type.noise(EXACT.alpha(999), EXACT.sigma(999))
            : type.data(EXACT.alpha(999), EXACT.sigma(999));
    double rest = other.a() * z + other.b() * answer;
    double data = type == PredictionType.SAMPLE ? answer : rest;
    double noise = type == PredictionType.SAMPLE ? rest : answer;
    try (Scope scope = Scope.open()) {
      Denoiser constant = (x, timesteps) -> x.mul(0).add(answer);
      Tensor start = Tensor.of(new double[] {z}, 1, 1);
      PfOdeSolver solver = new PfOdeSolver(EXACT, type, method, 6);
      double end = solver.solve(constant, start, new int[] {999}, new int[] {100}).item();
      assertThat(end).isCloseTo(EXACT.alpha(100) * data + EXACT.sigma(100) * noise, within(1e-11));
    }
  }

  /** Else the first step divides by α = 0, and training blames its learning rate for it. */
  @ParameterizedTest
  @EnumSource(TeacherSolver.class)
  void epsilonSaysNothingAtPureNoise(TeacherSolver method) {
    NoiseSchedule schedule =
        NoiseSchedule.of(stableDiffusion().put("rescale_betas_zero_snr", true));
    PfOdeSolver solver = new PfOdeSolver(schedule, PredictionType.EPSILON, method, 4);
    Denoiser teacher = (x, timesteps) -> x.mul(0.5);
    try (Scope scope = Scope.open()) {
      Tensor z = Tensor.full(1, 2, 1);
      TimeWindows windows = new TimeWindows(4);
      assertThatThrownBy(
              () -> solver.solve(teacher, z, windows, new double[] {0.5, 1})) // the second row
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("level 999 is pure noise")
          .hasMessageContaining("v_prediction");
      assertThatThrownBy(() -> solver.solve(teacher, z, new int[] {500, 999}, new int[] {100, 100}))
          .hasMessageContaining("pure noise");
      Tensor below = solver.solve(teacher, z, windows, new double[] {0.5, 0.75});
      assertThat(below.isFinite()).isTrue();
    }
  }

  @ParameterizedTest // α = 0 at the start and σ = 0 at the end: those steps are DDIM's
  @EnumSource(TeacherSolver.class)
  void pureNoiseAndCleanData(TeacherSolver method) {
    ObjectNode config =
        stableDiffusion().put("rescale_betas_zero_snr", true).put("set_alpha_to_one", true);
    NoiseSchedule schedule = NoiseSchedule.of(config, DType.F64);
    double start = 0.8;
    double[] errors = new double[2];
    for (int run = 0; run < 2; run++) {
      PfOdeSolver solver =
          new PfOdeSolver(schedule, PredictionType.V_PREDICTION, method, run == 0 ? 50 : 500);
      try (Scope scope = Scope.open()) {
        Tensor z = Tensor.of(new double[] {start}, 1, 1);
        Denoiser teacher = gaussian(schedule, PredictionType.V_PREDICTION);
        double end = solver.solve(teacher, z, new int[] {999}, new int[] {-1}).item();
        errors[run] = Math.abs(end - exact(schedule, start, 999, -1));
      }
    }
    System.out.println(method + " from pure noise to clean data " + Arrays.toString(errors));
    assertThat(errors[0]).isLessThan(0.05);
    assertThat(errors[1]).isLessThan(errors[0] / 3);
  }

  @Test
  void refusals() {
    assertThat(TeacherSolver.HEUN.steps(8)).isEqualTo(4);
    assertThatThrownBy(() -> solver(TeacherSolver.HEUN, 5)).hasMessageContaining("even number");
    assertThatThrownBy(() -> solver(TeacherSolver.DEIS_2, 5).withOfficialStride())
        .hasMessageContaining("DDIM only");
    PfOdeSolver five = solver(TeacherSolver.DPMPP_2M, 5);
    try (Scope scope = Scope.open()) {
      Tensor z = Tensor.full(1, 1, 1);
      Denoiser teacher = gaussian(EXACT, PredictionType.EPSILON);
      assertThatThrownBy(() -> five.solve(teacher, z, new int[] {10}, new int[] {6}))
          .hasMessageContaining("from noise level 10 to 6 in 5 steps");
      assertThatThrownBy(() -> five.solve(teacher, z, new int[] {1000}, new int[] {6}))
          .hasMessageContaining("levels are 999");
      assertThatThrownBy(() -> five.solve(teacher, z, new int[] {10}, new int[] {-2}))
          .hasMessageContaining("10 to -2");
      assertThatThrownBy(() -> five.solve(teacher, z, new int[] {10, 20}, new int[] {0, 1}))
          .hasMessageContaining("2 windows for the batch");
    }
  }
}
