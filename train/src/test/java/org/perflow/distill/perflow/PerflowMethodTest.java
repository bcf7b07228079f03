package org.perflow.distill.perflow;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.Test;
import org.perflow.distill.perflow.PerflowOptions.GuidanceMode;
import org.perflow.distill.ring.Ring;
import org.perflow.flow.PiecewiseFlow.Path;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;

class PerflowMethodTest {
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
    PerflowOptions options = PerflowOptions.DEFAULTS.withPath(Path.DDIM);
    ObjectNode config = PerflowMethod.MEASURED.scheduler(Ring.scheduler(), options);
    assertThat(config.path("_class_name").asText()).isEqualTo("DDIMScheduler");
    try (Scheduler sampler = Schedulers.create(config, 4)) {
      assertThat(sampler.timesteps()).containsExactly(999, 749, 499, 249);
    }
  }
}
