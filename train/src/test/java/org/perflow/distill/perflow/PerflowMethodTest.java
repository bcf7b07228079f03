package org.perflow.distill.perflow;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.Test;
import org.perflow.distill.ring.Ring;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.io.Json;
import org.perflow.io.Overrides;

class PerflowMethodTest {
  @Test
  void aStudentSaysWhichGuidanceItWasTaught() {
    PerflowOptions fixed =
        Overrides.apply(
            PerflowOptions.DEFAULTS,
            Json.MAPPER.createObjectNode().put("guidanceMode", "FIXED").put("guidance", 5));
    ObjectNode config = PerflowMethod.MEASURED.scheduler(Ring.scheduler(), fixed);
    assertThat(config.path("recommended_guidance_scale").asDouble()).isEqualTo(1);
    assertThat(config.path("teacher_guidance_scale").asDouble()).isEqualTo(5);
  }

  @Test
  void aStudentOfTheDdimPathIsSampledByDdimFromWindowToWindow() {
    PerflowOptions options = PerflowOptions.DEFAULTS.with("path", "DDIM");
    ObjectNode config = PerflowMethod.MEASURED.scheduler(Ring.scheduler(), options);
    assertThat(config.path("_class_name").asText()).isEqualTo("DDIMScheduler");
    try (Scheduler sampler = Schedulers.create(config, 4)) {
      assertThat(sampler.timesteps()).containsExactly(999, 749, 499, 249);
    }
  }
}
