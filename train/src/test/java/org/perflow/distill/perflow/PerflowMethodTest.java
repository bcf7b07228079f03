package org.perflow.distill.perflow;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.distill.Net;
import org.perflow.distill.perflow.PerflowOptions.GuidanceMode;
import org.perflow.distill.ring.Ring;
import org.perflow.distill.ring.RingRecipe;
import org.perflow.distill.ring.RingRun;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PiecewiseFlow.Curve;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.tensor.Device;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

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

  /** Their chords' captions had another name. */
  @Test
  void aCheckpointOfAnEarlierVersionIsResumed(@TempDir Path temp) throws IOException {
    Device.threads(1);
    @SuppressWarnings("unchecked")
    var perflow = (RingRecipe<PerflowOptions>) RingRecipe.of("perflow");
    RingRecipe<PerflowOptions> recipe =
        new RingRecipe<>(
            perflow.method(),
            perflow.options().withChordPool(256),
            perflow.teacher(),
            perflow.student(),
            perflow.training().withBatch(16),
            perflow.steps(),
            perflow.windows());
    float[][] ends = new float[2][];
    for (int i = 0; i < 2; i++) {
      Path run = temp.resolve("run" + i);
      train(recipe.trainedFor(2), run);
      if (i == 1) {
        renameCaptions(run.resolve("checkpoints/step-00000002/state.safetensors"));
      }
      ends[i] = train(recipe.trainedFor(4), run);
    }
    assertThat(ends[1]).isEqualTo(ends[0]);
  }

  private static float[] train(RingRecipe<PerflowOptions> recipe, Path run) throws IOException {
    List<float[]> last = new ArrayList<>();
    try (Net student = recipe.student().get()) {
      RingRun.train(
          recipe,
          student,
          run,
          net -> last.add(net.parameters().get("mid_block.last.weight").value().toFloatArray()));
    }
    return last.get(0);
  }

  private static void renameCaptions(Path checkpoint) throws IOException {
    Map<String, Tensor> old = new LinkedHashMap<>();
    try (Scope scope = Scope.open()) {
      try (SafetensorsFile file = SafetensorsFile.open(checkpoint)) {
        assertThat(file.entries()).containsKey("objective.chords.text");
        for (String name : file.entries().keySet()) {
          old.put(name.replace("chords.text", "chords.condition"), file.read(name));
        }
      }
      SafetensorsWriter.write(checkpoint, old, Map.of());
    }
  }
}
