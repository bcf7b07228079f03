package org.perflow.distill.perflow;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.Test;
import org.perflow.distill.perflow.PerflowOptions.GuidanceMode;
import org.perflow.distill.ring.Ring;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PiecewiseFlow.Curve;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.io.Json;

class PerflowMethodTest {
  /** Its teacher's first step would divide by zero; a student of velocity helps nothing. */
  @Test
  void anEpsilonTeacherOfPureNoiseIsRefused() {
    ObjectNode teacher =
        Json.MAPPER
            .createObjectNode()
            .put("_class_name", "DDIMScheduler")
            .put("rescale_betas_zero_snr", true);
    for (Parameterization kind : Parameterization.values()) {
      PerflowOptions options = PerflowOptions.DEFAULTS.withParameterization(kind);
      assertThatThrownBy(() -> PerflowMethod.MEASURED.require(teacher, options))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("pure noise")
          .hasMessageContaining("v_prediction");
    }
    teacher.put("prediction_type", "v_prediction");
    PerflowMethod.MEASURED.require(
        teacher, PerflowOptions.DEFAULTS.withParameterization(Parameterization.VELOCITY));
  }

  @Test
  void aStudentSaysWhichGuidanceItWasTaught() {
    PerflowOptions fixed =
        PerflowOptions.DEFAULTS.with(o -> o.guidanceMode(GuidanceMode.FIXED).guidance(5));
    ObjectNode config = PerflowMethod.MEASURED.scheduler(Ring.scheduler(), fixed);
    assertThat(config.path("recommended_guidance_scale").asDouble()).isEqualTo(1);
    assertThat(config.path("teacher_guidance_scale").asDouble()).isEqualTo(5);
  }

  @Test
  void aStudentOfTheDdimPathIsSampledByDdimFromWindowToWindow() {
    PerflowOptions options = PerflowOptions.DEFAULTS.withPath(Curve.DDIM);
    ObjectNode config = PerflowMethod.MEASURED.scheduler(Ring.scheduler(), options);
    assertThat(config.path("_class_name").asText()).isEqualTo("DDIMScheduler");
    try (Scheduler sampler = Schedulers.create(config, 4)) {
      assertThat(sampler.timesteps()).containsExactly(999, 749, 499, 249);
    }
  }
}
