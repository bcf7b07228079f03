package org.perflow.distill;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.Test;
import org.perflow.distill.ring.Ring;
import org.perflow.flow.Scheduler;
import org.perflow.flow.Schedulers;
import org.perflow.train.PerflowOptions;

class PerflowMethodTest {
  @Test
  void aStudentOfTheDdimPathIsSampledByDdimFromWindowToWindow() {
    PerflowOptions options = PerflowOptions.DEFAULTS.with("path", "DDIM");
    ObjectNode config = new PerflowMethod().scheduler(Ring.scheduler(), options);
    assertThat(config.path("_class_name").asText()).isEqualTo("DDIMScheduler");
    try (Scheduler sampler = Schedulers.create(config, 4)) {
      assertThat(sampler.timesteps()).containsExactly(999, 749, 499, 249);
    }
  }
}
