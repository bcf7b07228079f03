package org.perflow.flow.sampler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.flow.Golden;
import org.perflow.io.Json;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Orders of convergence on data from N(μ, c²), whose probability flow has a closed form: with y =
 * z0 + σ ε the exact path is y = μ + √(c² + σ²) k.
 */
class ConvergenceTest {
  private static final double MEAN = 0.7;
  private static final double VARIANCE = 0.25;

  private static ObjectNode config(String name) {
    ObjectNode base =
        Json.MAPPER
            .createObjectNode()
            .put("_class_name", "EulerDiscreteScheduler")
            .put("beta_start", 0.00085)
            .put("beta_end", 0.012)
            .put("beta_schedule", "scaled_linear");
    return Schedulers.config(name, base)
        .put("use_exponential_sigmas", true) // uniform in λ
        .put("final_sigmas_type", "sigma_min")
        .put("lower_order_final", true);
  }

  @ParameterizedTest
  @CsvSource({
    "euler, 1, 1",
    "heun, 1, 2",
    "dpmpp-2m, 1, 1",
    "dpmpp-2m, 2, 2",
    "dpmpp-3m, 3, 2", // diffusers' second difference lacks a factor 2
    "dpm-2m, 1, 1",
    "dpm-2m, 2, 2",
    "dpmpp-2s, 2, 2",
    "dpmpp-3s, 3, 2.85",
    "deis, 1, 1",
    "deis, 2, 2",
    "deis, 3, 2", // the first step, of first order, limits it in the end
    "unipc, 1, 2", // the corrector's order is one more
    "unipc, 2, 3"
  })
  void order(String name, int solverOrder, double expected) {
    ObjectNode config = config(name).put("solver_order", solverOrder);
    double coarse = error(config, 97);
    double fine = error(config, 193);
    double slope = Math.log(coarse / fine) / Math.log(2);
    System.out.printf("order %s %d: %.2f (%.1e, %.1e)%n", name, solverOrder, slope, coarse, fine);
    assertThat(slope).isGreaterThan(expected - 0.15);
  }

  @Test // few steps: levels are rounded to float32, which shows at errors of 1e-7
  void orderOfUniPcThree() {
    ObjectNode config = config("unipc").put("solver_order", 3);
    double slope = Math.log(error(config, 25) / error(config, 49)) / Math.log(2);
    System.out.printf("order unipc 3: %.2f%n", slope);
    assertThat(slope).isGreaterThan(3.85);
  }

  /** At the cleanest level, which all these samplers reach with the last step but one. */
  private static double error(ObjectNode config, int levels) {
    try (Scope scope = Scope.open();
        Scheduler sampler = Schedulers.create(config, levels)) {
      boolean scaled = sampler.initNoiseSigma() != 1; // the state is y, not z = α y
      int last = sampler.timesteps().length - 1;
      double start = 1.3;
      double z = start * noiseFactor(sampler, 0);
      for (int i = 0; i < last; i++) {
        double sigma = sigma(noiseFactor(sampler, i), scaled);
        double y = scaled ? z : z * Math.sqrt(sigma * sigma + 1);
        double epsilon = sigma / (VARIANCE + sigma * sigma) * (y - MEAN);
        try (Scope step = Scope.open()) {
          z = sampler.step(scalar(epsilon), i, scalar(z), Golden.NO_NOISE).item();
        }
      }
      double from = sigma(noiseFactor(sampler, 0), scaled);
      double to = sigma(noiseFactor(sampler, last), scaled);
      double first = start * noiseFactor(sampler, 0) * (scaled ? 1 : Math.sqrt(from * from + 1));
      double exact =
          MEAN + Math.sqrt((VARIANCE + to * to) / (VARIANCE + from * from)) * (first - MEAN);
      return Math.abs(z - (scaled ? exact : exact / Math.sqrt(to * to + 1)));
    }
  }

  private static double noiseFactor(Scheduler sampler, int index) {
    try (Scope scope = Scope.open()) {
      return sampler.addNoise(Tensor.zeros(DType.F64, 1), scalar(1), index).item();
    }
  }

  private static double sigma(double noiseFactor, boolean scaled) {
    return scaled ? noiseFactor : noiseFactor / Math.sqrt(1 - noiseFactor * noiseFactor);
  }

  private static Tensor scalar(double value) {
    return Tensor.of(new double[] {value});
  }

  @ParameterizedTest // DPM-Solver++ and DDIM agree on data that the network knows exactly
  @CsvSource({"dpmpp-2m", "dpmpp-3m", "dpmpp-2s", "dpmpp-3s", "unipc"})
  void constantDataIsReachedInAnyNumberOfSteps(String name) {
    ObjectNode config =
        config(name).put("prediction_type", "sample").put("final_sigmas_type", "zero");
    try (Scope scope = Scope.open();
        Scheduler sampler = Schedulers.create(config, 5)) {
      Tensor z = scalar(3);
      for (int i = 0; i < 5; i++) {
        z = sampler.step(scalar(MEAN), i, z, Golden.NO_NOISE);
      }
      assertThat(z.item()).isCloseTo(MEAN, within(1e-12));
    }
  }

  @Test
  void historyIsForgottenAndFreed() {
    ObjectNode config = config("dpmpp-3m");
    try (Scheduler sampler = Schedulers.create(config, 6)) {
      double once = run(sampler, 6);
      long objects = Scope.liveObjects();
      run(sampler, 3); // broken off: the next run starts afresh
      assertThat(run(sampler, 6)).isEqualTo(once);
      assertThat(Scope.liveObjects()).isLessThanOrEqualTo(objects);
    }
  }

  private static double run(Scheduler sampler, int steps) {
    try (Scope scope = Scope.open()) {
      Tensor z = scalar(1);
      for (int i = 0; i < steps; i++) {
        z = sampler.step(Golden.network(z, sampler.timesteps()[i]), i, z, Golden.NO_NOISE);
      }
      return z.item();
    }
  }
}
