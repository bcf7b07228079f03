package org.perflow.flow;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsFile;
import org.perflow.tensor.Scope;

class SchedulersTest {
  private static ObjectNode stableDiffusion() {
    return Schedulers.emptyConfig()
        .put("_class_name", "DDIMScheduler")
        .put("beta_start", 0.00085)
        .put("beta_end", 0.012)
        .put("beta_schedule", "scaled_linear")
        .put("clip_sample", false)
        .put("set_alpha_to_one", false)
        .put("steps_offset", 1)
        .put("prediction_type", "epsilon");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "ddim.4",
        "ddim.10",
        "ddim.25",
        "ddim_trailing_v_zsnr.4",
        "ddim_trailing_v_zsnr.10",
        "ddim_trailing_v_zsnr.25"
      })
  void diffusersDdim(String key) throws IOException {
    try (SafetensorsFile file =
            SafetensorsFile.open(Golden.FOLDER.resolve("schedulers_ddim.safetensors"));
        Scope scope = Scope.open()) {
      JsonNode config = Json.MAPPER.readTree(file.metadata().get("cases")).get(key);
      int steps = Integer.parseInt(key.substring(key.indexOf('.') + 1));
      DdimScheduler sampler = DdimScheduler.of(config, steps);
      assertThat(sampler.timesteps())
          .containsExactly(file.read(key + ".timesteps").toDoubleArray());
      assertThat(
              Golden.error(
                  key,
                  PerflowSchedulerTest.states(sampler, file.read(key + ".states")),
                  file.read(key + ".states")))
          .isLessThan(1e-4);
    }
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
    ObjectNode config = stableDiffusion().put("_class_name", "PNDMScheduler");
    assertThatThrownBy(() -> Schedulers.create(config, 4))
        .hasMessageContaining("'PNDMScheduler'; known: PeRFlowScheduler, DDIMScheduler");
    assertThat(Schedulers.create("ddim", config, 4)).isInstanceOf(DdimScheduler.class);
    assertThatThrownBy(() -> Schedulers.create("perflw", config, 4))
        .hasMessageContaining("did you mean 'perflow'?");
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
    ObjectNode bare = Schedulers.emptyConfig().put("_class_name", "PeRFlowScheduler");
    assertThatThrownBy(() -> Schedulers.create(bare, 4)).hasMessageContaining("prediction_type");
    ObjectNode pureNoise =
        stableDiffusion().put("rescale_betas_zero_snr", true).put("timestep_spacing", "trailing");
    assertThatThrownBy(() -> Schedulers.create(pureNoise, 4)).hasMessageContaining("pure noise");
    assertThatThrownBy(() -> Schedulers.create(stableDiffusion(), 1001))
        .hasMessageContaining("1 to 1000");
    assertThatThrownBy(() -> Schedulers.create(stableDiffusion(), 1000))
        .hasMessageContaining("use fewer steps");
  }

  @Test
  void studentConfigKeepsTheTeachersNoise() {
    ObjectNode teacher = Schedulers.emptyConfig().put("_class_name", "DDIMScheduler");
    ObjectNode student =
        PerflowScheduler.config(teacher, new TimeWindows(8), Parameterization.VELOCITY, true);
    NoiseSchedule before = NoiseSchedule.of(teacher);
    PiecewiseFlow after = PerflowScheduler.flow(student);
    assertThat(after.schedule().alphaBar(999)).isEqualTo(before.alphaBar(999));
    assertThat(after.schedule().finalAlphaBar()).isEqualTo(1);
    assertThat(after.windows().count()).isEqualTo(8);
  }
}
