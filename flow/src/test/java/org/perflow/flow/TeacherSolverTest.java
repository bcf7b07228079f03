package org.perflow.flow;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
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
      assertThat(slope).as("window " + (4 - i)).isBetween(order - 0.15, order + 1.0);
    }
  }
}
