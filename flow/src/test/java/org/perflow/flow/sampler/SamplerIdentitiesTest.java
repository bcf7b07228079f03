package org.perflow.flow.sampler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.flow.Golden;
import org.perflow.flow.sampler.Scheduler.NoiseSource;
import org.perflow.io.Json;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * What samplers of different papers must have in common, in float64: most mistakes in a sign or an
 * index break one of these.
 */
class SamplerIdentitiesTest {
  private static final int STEPS = 14; // the last steps are of lower order in all of them

  private static ObjectNode config(String name, int order) {
    ObjectNode base =
        Json.MAPPER
            .createObjectNode()
            .put("_class_name", "EulerDiscreteScheduler")
            .put("beta_start", 0.00085)
            .put("beta_end", 0.012)
            .put("beta_schedule", "scaled_linear")
            .put("timestep_spacing", "trailing");
    return Schedulers.config(name, base)
        .put("final_sigmas_type", "sigma_min")
        .put("lower_order_final", true)
        .put("solver_order", order);
  }

  /** UniPC without its corrector. */
  private static ObjectNode predictor(int order, boolean data) {
    ObjectNode config = config("unipc", order).put("predict_x0", data);
    ArrayNode all = config.putArray("disable_corrector");
    for (int i = 0; i < STEPS; i++) {
      all.add(i);
    }
    return config;
  }

  /** Where a network that is not linear leads. */
  private static double end(ObjectNode config, int steps) {
    return end(config, steps, Golden.NO_NOISE);
  }

  private static double end(ObjectNode config, int steps, NoiseSource noise) {
    try (Scope scope = Scope.open();
        Scheduler sampler = Schedulers.create(config, steps)) {
      Tensor z = Tensor.of(new double[] {0.9 * sampler.initNoiseSigma()});
      for (int i = 0; i < sampler.timesteps().length; i++) {
        Tensor input = sampler.scaleModelInput(z, i);
        Tensor output = Golden.network(input, sampler.timesteps()[i]);
        z = sampler.step(output, i, z, noise);
      }
      return z.item();
    }
  }

  private static void same(ObjectNode one, ObjectNode other, double tolerance) {
    assertThat(end(one, STEPS)).isCloseTo(end(other, STEPS), within(tolerance));
  }

  @Test
  void firstOrdersAreDdim() {
    same(config("dpmpp-2m", 1), config("deis", 1), 1e-12);
    same(config("dpmpp-2m", 1), config("dpm-2m", 1), 1e-12);
    ObjectNode linspace = config("dpmpp-2m", 1).put("timestep_spacing", "linspace");
    same(linspace, config("dpmpp-2s", 1), 1e-12); // which knows no other spacing
    same(config("dpmpp-2m", 1), predictor(1, true), 1e-12);
    same(config("dpmpp-2m", 1), predictor(1, false), 1e-12);
    // DDIM does not round its levels, and steps by ⌊T/N⌋
    assertThat(end(config("ddim", 1).put("set_alpha_to_one", false), 20))
        .isCloseTo(end(config("dpmpp-2m", 1), 20), within(2e-6));
  }

  @Test // Zhao et al. 2023 (arXiv 2302.04867), section 3.4
  void predictorOfSecondOrderIsTheMidpointRule() {
    same(predictor(2, true), config("dpmpp-2m", 2), 1e-12);
    same(predictor(2, false), config("dpm-2m", 2), 1e-12);
  }

  @Test // interpolation in ln ρ = −λ is Taylor's expansion in λ
  void adamsBashforthInLogRhoIsDpmSolverByTaylor() {
    same(config("deis", 2), config("dpm-2m", 2).put("solver_type", "heun"), 1e-11);
    assertThat(thirdStep(config("deis", 3)))
        .isCloseTo(thirdStep(predictor(3, false)), within(1e-11));
  }

  @ParameterizedTest // of float32 coefficients, as diffusers', nothing is left there
  @ValueSource(ints = {500, 999})
  void thirdOrderOfDeisHoldsInManySteps(int steps) {
    double solution = end(config("dpm-2m", 2), steps);
    assertThat(end(config("deis", 3), steps)).isCloseTo(solution, within(1e-3));
  }

  @Test // variances that are 0 but for rounding
  void noNoiseIsNotTheRootOfLess() {
    NoiseSource fresh = z -> scalar(0.3);
    ObjectNode ddim =
        config("ddim", 1)
            .put("rescale_betas_zero_snr", true)
            .put("prediction_type", "v_prediction")
            .put("eta", 1);
    for (int steps = 1; steps < 60; steps++) {
      assertThat(end(ddim, steps, fresh)).as("ddim in %d steps", steps).isFinite();
    }
    for (String spread : List.of("use_lu_lambdas", "use_karras_sigmas", "use_beta_sigmas")) {
      for (String name : List.of("sde-dpmsolver", "sde-dpmsolver++")) {
        ObjectNode config = config("dpmpp-2m-sde", 2).put("algorithm_type", name);
        config.put(spread, true);
        for (int steps : new int[] {1, 2, 7, 40, 141}) {
          assertThat(end(config, steps, fresh)).as("%s in %d", config, steps).isFinite();
        }
      }
    }
  }

  @Test
  void noiseThatRisesIsRefusedWhereItIsDrawnAnew() {
    ObjectNode config = config("euler-a", 1);
    config.put("rescale_betas_zero_snr", true).put("prediction_type", "v_prediction");
    config.put("beta_start", 0.001).put("beta_end", 0.03);
    assertThat(end(config, 10, z -> scalar(0.3))).isFinite();
    assertThatThrownBy(() -> Schedulers.create(config, 1000)).hasMessageContaining("noise rises");
  }

  /** The first step of third order, from states that do not depend on the steps before. */
  private static double thirdStep(ObjectNode config) {
    double[] states = {0.9, 0.7, 0.8};
    double end = 0;
    try (Scope scope = Scope.open();
        Scheduler sampler = Schedulers.create(config, STEPS)) {
      for (int i = 0; i < states.length; i++) {
        Tensor z = scalar(states[i]);
        Tensor output = Golden.network(z, sampler.timesteps()[i]);
        end = sampler.step(output, i, z, Golden.NO_NOISE).item();
      }
    }
    return end;
  }

  @Test
  void oneStepOfHeunIsEulers() {
    assertThat(end(config("heun", 1), 1))
        .isCloseTo(end(config("euler", 1).put("final_sigmas_type", "zero"), 1), within(1e-12));
  }

  @ParameterizedTest // whatever takes the noise as constant, or a combination of its values
  @ValueSource(strings = {"deis", "dpm-2m", "euler", "heun", "ddim", "dpmpp-2m", "pndm"})
  void aConstantAnswerIsFollowedExactly(String name) {
    double noise = 0.4;
    double data = 1.1;
    ObjectNode config = config(name, 2).put("set_alpha_to_one", false);
    boolean keepsData = name.equals("dpmpp-2m");
    config.put("prediction_type", keepsData ? "sample" : "epsilon");
    try (Scope scope = Scope.open();
        Scheduler sampler = Schedulers.create(config, 8)) {
      Tensor z = sampler.addNoise(scalar(data), scalar(noise), 0);
      int last = sampler.timesteps().length - 1;
      for (int i = 0; i < last; i++) {
        z = sampler.step(scalar(keepsData ? data : noise), i, z, Golden.NO_NOISE);
      }
      double expected = sampler.addNoise(scalar(data), scalar(noise), last).item();
      assertThat(z.item()).isCloseTo(expected, within(1e-6));
    }
  }

  @ParameterizedTest
  @CsvSource({"heun, 15", "pndm, 9", "ddim, 8", "dpmpp-2s, 8", "dpmpp-3s, 8", "unipc, 8"})
  void evaluations(String name, int expected) {
    try (Scheduler sampler = Schedulers.create(config(name, 2), 8)) {
      assertThat(sampler.timesteps()).hasSize(expected);
    }
  }

  /**
   * On one point μ and with the network that knows it, a state α μ + σ e becomes α′ μ + c e + d n
   * for fresh noise n; for the marginals to stay right, c² + d² must be σ′².
   */
  @ParameterizedTest
  @ValueSource(strings = {"lcm", "tcd", "ddpm", "euler-a", "dpmpp-2m-sde", "ddim"})
  void freshNoiseMakesUpForWhatWasTaken(String name) {
    double mean = 0.7;
    ObjectNode config = config(name, 2).put("eta", name.equals("tcd") ? 0.3 : 1);
    boolean keepsData = !name.equals("euler-a");
    config.put("prediction_type", keepsData ? "sample" : "epsilon");
    try (Scope scope = Scope.open();
        Scheduler sampler = Schedulers.create(config, 4)) {
      double[] ends = new double[3];
      for (int i = 0; i < 3; i++) {
        double old = i == 1 ? 1 : 0;
        double fresh = i == 2 ? 1 : 0;
        Tensor z = sampler.addNoise(scalar(mean), scalar(old), 0);
        Tensor output = scalar(keepsData ? mean : old);
        ends[i] = sampler.step(output, 0, z, like -> scalar(fresh)).item();
      }
      double sigma = sampler.addNoise(Tensor.zeros(DType.F64, 1), scalar(1), 1).item();
      assertThat(Math.hypot(ends[1] - ends[0], ends[2] - ends[0])).isCloseTo(sigma, within(1e-6));
      assertThat(ends[0])
          .isCloseTo(sampler.addNoise(scalar(mean), scalar(0), 1).item(), within(1e-6));
      assertThat(ends[2] - ends[0]).isGreaterThan(0.01); // it does draw some
    }
  }

  private static Tensor scalar(double value) {
    return Tensor.of(new double[] {value});
  }
}
