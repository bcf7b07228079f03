package org.perflow.flow.sampler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.perflow.flow.Golden;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.TimeWindows;
import org.perflow.io.Json;
import org.perflow.models.SchedulerConfig;
import org.perflow.pipeline.SeededNoise;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class SchedulersTest {
  private static ObjectNode stableDiffusion() {
    return Json.MAPPER
        .createObjectNode()
        .put("_class_name", "DDIMScheduler")
        .put("beta_start", 0.00085)
        .put("beta_end", 0.012)
        .put("beta_schedule", "scaled_linear")
        .put("clip_sample", false)
        .put("set_alpha_to_one", false)
        .put("steps_offset", 1)
        .put("prediction_type", "epsilon");
  }

  @Test // https://arxiv.org/abs/2305.08891, table 2
  void spacings() {
    ObjectNode config = stableDiffusion();
    assertThat(Schedulers.create(config, 4).timesteps()).containsExactly(751, 501, 251, 1);
    config.put("timestep_spacing", "trailing");
    assertThat(Schedulers.create(config, 4).timesteps()).containsExactly(999, 749, 499, 249);
    config.put("timestep_spacing", "linspace");
    assertThat(Schedulers.create(config, 4).timesteps()).containsExactly(999, 666, 333, 0);
    config.put("timestep_spacing", "leadng");
    assertThatThrownBy(() -> Schedulers.create(config, 4))
        .hasMessageContaining("did you mean 'leading'?");
  }

  @Test
  void unknownNames() {
    ObjectNode config = stableDiffusion().put("_class_name", "LMSDiscreteScheduler");
    assertThatThrownBy(() -> Schedulers.create(config, 4))
        .hasMessageContaining("'LMSDiscreteScheduler'; known: PeRFlowScheduler, DDIMScheduler")
        .hasMessageContaining("choose a scheduler by name: perflow, ddim");
    assertThat(Schedulers.create("ddim", config, 4)).isInstanceOf(DdimScheduler.class);
    assertThatThrownBy(() -> Schedulers.create("perflw", config, 4))
        .hasMessageContaining("did you mean 'perflow'?");
  }

  @Test
  void everyNameDraws() {
    for (String name : SchedulerConfig.NAMES) {
      if (name.equals("flow-euler")) {
        continue;
      }
      try (Scheduler sampler = Schedulers.create(name, stableDiffusion(), 6);
          Scope scope = Scope.open();
          SeededNoise noise = new SeededNoise(1, 2)) {
        Tensor z = noise.draw(4, 2, 2).mul(sampler.initNoiseSigma());
        double[] timesteps = sampler.timesteps();
        for (int i = 0; i < timesteps.length; i++) {
          Tensor output = Golden.network(sampler.scaleModelInput(z, i), timesteps[i]);
          z = sampler.step(output, i, z, noise);
        }
        assertThat(z.isFinite()).as(name).isTrue();
        assertThat(z.abs().max().item()).as(name).isLessThan(10);
      }
    }
  }

  @Test
  void aNameKeepsTheModelsOptionsAsFromConfigDoes() {
    ObjectNode base =
        stableDiffusion()
            .put("prediction_type", "v_prediction")
            .put("timestep_spacing", "trailing");
    ObjectNode config = Schedulers.config("dpmpp-2m-karras", base);
    assertThat(config.path("_class_name").asText()).isEqualTo("DPMSolverMultistepScheduler");
    assertThat(config.path("use_karras_sigmas").asBoolean()).isTrue();
    assertThat(config.path("prediction_type").asText()).isEqualTo("v_prediction");
    assertThat(config.path("timestep_spacing").asText()).isEqualTo("trailing");
    ObjectNode lcm = Json.MAPPER.createObjectNode().put("_class_name", "LCMScheduler");
    assertThat(Schedulers.config("euler", lcm).path("beta_schedule").asText())
        .isEqualTo("scaled_linear"); // a default of the class that it comes from
    assertThat(lcm.has("beta_schedule")).isFalse();
  }

  @Test
  void whatIsNotBuiltIsNamed() {
    refused("DPMSolverMultistepScheduler", "use_flow_sigmas", true, "use_flow_sigmas = true");
    refused("DDPMScheduler", "variance_type", "learned_range", "variance_type 'learned_range'");
    refused("UniPCMultistepScheduler", "solver_p", "x", "solver_p");
    refused("HeunDiscreteScheduler", "rescale_betas_zero_snr", true, "rescale_betas_zero_snr");
    refused("EulerDiscreteScheduler", "timestep_type", "continuous", "'continuous'");
    refused("EulerDiscreteScheduler", "use_karras_sigmas", "yes", "want true or false");
    refused("DPMSolverMultistepScheduler", "solver_type", "hoin", "did you mean 'heun'?");
    refused("DPMSolverMultistepScheduler", "algorithm_type", "dpmsolver", "sigma_min");
    refused("FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting", true, "dynamic_shifting");
    refused("DDIMScheduler", "prediction_type", "flow_prediction", "flow_prediction");
    // an option of another class means nothing, here as in diffusers
    ObjectNode foreign =
        stableDiffusion().put("_class_name", "HeunDiscreteScheduler").put("thresholding", true);
    Schedulers.create(foreign, 4).close();
    assertThatThrownBy(() -> Schedulers.config("flow-euler", stableDiffusion()))
        .hasMessageContaining("flow-euler is for flow-matching models");
  }

  @Test
  void flowLevelsMayTrail() {
    ObjectNode config =
        Json.MAPPER
            .createObjectNode()
            .put("_class_name", "FlowMatchEulerDiscreteScheduler")
            .put("timestep_spacing", "trailing");
    try (Scheduler plain = Schedulers.create(config, 4);
        Scheduler shifted = Schedulers.create(config.deepCopy().put("shift", 3), 4);
        Scope scope = Scope.open()) {
      assertThat(plain.timesteps()).containsExactly(1000, 750, 500, 250);
      assertThat(shifted.timesteps()[1]).isCloseTo(900, within(1e-3)); // 3 σ/(1 + 2 σ)
      Tensor z = Tensor.full(5, 1, 4, 2, 2);
      Tensor end = plain.step(Tensor.full(8, 1, 4, 2, 2), 3, z, x -> x);
      assertThat(end.max().item()).isEqualTo(5 - 0.25 * 8);
      assertThat(plain.timestepCond(0)).isNaN();
    }
    assertThatThrownBy(() -> Schedulers.create(config.put("timestep_spacing", "leading"), 4))
        .hasMessageContaining("trailing");
  }

  @Test
  void shortcutModelsAreToldTheStep() {
    ObjectNode config = Json.MAPPER.createObjectNode().put("_class_name", "ShortcutScheduler");
    try (Scheduler sampler = Schedulers.create(config, 2)) {
      assertThat(sampler.timesteps()).containsExactly(1000, 500);
      assertThat(sampler.timestepCond(1)).isEqualTo(0.5);
    }
    for (String name : List.of("flow-euler", "ddim")) {
      assertThatThrownBy(() -> Schedulers.config(name, config))
          .hasMessageContaining("must be told the length of a step");
    }
  }

  private static void refused(String type, String key, Object value, String message) {
    ObjectNode config = stableDiffusion().put("_class_name", type);
    config.set(key, Json.MAPPER.valueToTree(value));
    assertThatThrownBy(() -> Schedulers.create(config, 4))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(message);
  }

  @Test
  void configsThatPythonWroteHaveInfinities() throws IOException {
    JsonNode config =
        Json.MAPPER.readTree(
            "{\"_class_name\": \"DPMSolverMultistepScheduler\","
                + " \"lambda_min_clipped\": -Infinity}");
    Schedulers.create((ObjectNode) config, 4).close();
    assertThat(Json.MAPPER.writeValueAsString(config)).contains(": -Infinity");
  }

  @Test
  void imageToImageStartsWhereSamplingWouldBe() {
    ObjectNode base = stableDiffusion();
    try (Scope scope = Scope.open();
        Scheduler ddim = Schedulers.create("ddim", base, 4);
        Scheduler euler = Schedulers.create("euler", base.put("timestep_spacing", "leading"), 4)) {
      Tensor data = Tensor.full(0.5, 1, 1);
      Tensor noise = Tensor.full(2, 1, 1);
      assertThat(ddim.timesteps()).isEqualTo(euler.timesteps());
      Tensor state = euler.scaleModelInput(euler.addNoise(data, noise, 2), 2);
      assertThat(state.item())
          .isCloseTo(ddim.addNoise(data, noise, 2).item(), within(1e-6)); // the same level
    }
  }

  @Test
  void epsilonTeacherUnderPerflowIsDdimEps() {
    Scheduler sampler = Schedulers.create("perflow", stableDiffusion(), 4);
    assertThat(((PerflowScheduler) sampler).flow().parameterization())
        .isEqualTo(Parameterization.DDIM_EPS);
    assertThatThrownBy(
            () ->
                Schedulers.create(
                    "perflow", stableDiffusion().put("prediction_type", "v_prediction"), 4))
        .hasMessageContaining("v_prediction");
  }

  @Test
  void pairsThatDoNotFit() {
    ObjectNode diff =
        PerflowScheduler.config(
            stableDiffusion(), new TimeWindows(4), Parameterization.DIFF_EPS, false);
    assertThatThrownBy(() -> Schedulers.create("ddim", diff, 4)).hasMessageContaining("diff_eps");
    ObjectNode bare = Json.MAPPER.createObjectNode().put("_class_name", "PeRFlowScheduler");
    assertThatThrownBy(() -> Schedulers.create(bare, 4)).hasMessageContaining("prediction_type");
    ObjectNode pureNoise =
        stableDiffusion().put("rescale_betas_zero_snr", true).put("timestep_spacing", "trailing");
    assertThatThrownBy(() -> Schedulers.create(pureNoise, 4)).hasMessageContaining("pure noise");
    for (String name : SchedulerConfig.NAMES) {
      if (!name.equals("flow-euler")) {
        assertThatThrownBy(() -> Schedulers.create(name, pureNoise, 4)) // some know no zero SNR
            .as(name)
            .hasMessageMatching(".*(pure noise|does not know rescale_betas_zero_snr).*");
      }
    }
    assertThatThrownBy(() -> Schedulers.create(stableDiffusion(), 1001))
        .hasMessageContaining("1 to 1000");
    assertThatThrownBy(() -> Schedulers.create(stableDiffusion(), 1000))
        .hasMessageContaining("use fewer steps");
  }

  @Test
  void studentConfigKeepsTheTeachersNoise() {
    ObjectNode teacher = Json.MAPPER.createObjectNode().put("_class_name", "DDIMScheduler");
    ObjectNode student =
        PerflowScheduler.config(teacher, new TimeWindows(8), Parameterization.VELOCITY, true);
    NoiseSchedule before = NoiseSchedule.of(teacher);
    PiecewiseFlow after = PerflowScheduler.flow(student);
    assertThat(after.schedule().alphaBar(999)).isEqualTo(before.alphaBar(999));
    assertThat(after.schedule().finalAlphaBar()).isEqualTo(1);
    assertThat(after.windows().count()).isEqualTo(8);
  }
}
