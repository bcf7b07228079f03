package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.io.SafetensorsFile;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.nn.Parameter;

class DiffusionModelTest {
  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "EDMDPMSolverMultistepScheduler",
        "EDMEulerScheduler",
        "CosineDPMSolverMultistepScheduler",
        "CMStochasticIterativeScheduler",
        "FlowMatchHeunDiscreteScheduler",
      })
  void networksThatNeedAnotherSamplerAreNeverDrawn(String sampler) throws IOException {
    try (DiffusionModel model = DiffusionModel.load(Golden.SD15, DType.F32)) {
      ObjectNode config = model.schedulerConfig().put("_class_name", sampler);
      assertThatThrownBy(() -> model.withScheduler(config))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("its sampler is a " + sampler + ", which is not built");
      ObjectNode continuous = model.schedulerConfig().put("timestep_type", "continuous");
      assertThatThrownBy(() -> model.withScheduler(continuous))
          .hasMessageContaining("of continuous timesteps, which is not built");
    }
  }

  /** The last part to be read breaks off; what was read before it, and of it, is freed. */
  @Test
  void aModelThatCannotBeReadLeavesNoNativeObjects() throws IOException {
    Path broken = folder.resolve("broken");
    try (DiffusionModel model = DiffusionModel.load(Golden.SD15, DType.F32);
        Scope scope = Scope.open()) {
      List<Parameter> weights = List.copyOf(model.textEncoder().namedParameters().values());
      weights.get(weights.size() - 1).value().mulInPlace(Double.NaN);
      model.save(broken, DType.F32, Map.of());
    }
    long before = Scope.liveObjects();
    assertThatThrownBy(() -> DiffusionModel.load(broken, DType.F32)).hasMessageContaining("NaN");
    assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);
    Files.delete(broken.resolve("text_encoder/config.json"));
    assertThatThrownBy(() -> DiffusionModel.load(broken, DType.F32))
        .isInstanceOf(IOException.class);
    assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);
  }

  @Test
  void whatIsSavedIsWhatWasLoaded() throws IOException {
    Path saved = folder.resolve("copy");
    try (DiffusionModel model = DiffusionModel.load(Golden.SD15, DType.F32)) {
      model.save(saved, DType.F32, Map.of("made_by", "a test"));
      model.save(saved, DType.F32, Map.of("made_by", "a second run")); // replaces its own
      try (DiffusionModel reread = DiffusionModel.load(saved, DType.F32)) {
        Golden.assertSameBits(reread.unet(), model.unet());
        Golden.assertSameBits(reread.vae(), model.vae());
        Golden.assertSameBits(reread.textEncoder(), model.textEncoder());
        assertThat(reread.unet().config()).isEqualTo(model.unet().config());
        assertThat(reread.schedulerConfig()).isEqualTo(model.schedulerConfig());
        assertThat(reread.tokenizer().encode("a cat")).isEqualTo(model.tokenizer().encode("a cat"));
      }
    }
    Path weights = saved.resolve("unet/diffusion_pytorch_model.safetensors");
    try (SafetensorsFile file = SafetensorsFile.open(weights)) {
      assertThat(file.metadata()).containsEntry("made_by", "a second run");
    }
    try (Stream<Path> left = Files.list(folder)) {
      assertThat(left).containsExactly(saved); // no half-written leftovers
    }
  }

  @Test
  void writesTheKeysOfTheOriginal() throws IOException {
    Path saved = folder.resolve("copy");
    try (DiffusionModel model = DiffusionModel.load(Golden.SD15, DType.F32)) {
      model.save(saved, DType.F16, Map.of());
    }
    for (String name :
        new String[] {
          "unet/diffusion_pytorch_model.safetensors",
          "vae/diffusion_pytorch_model.safetensors",
          "text_encoder/model.safetensors"
        }) {
      try (SafetensorsFile original = SafetensorsFile.open(Golden.SD15.resolve(name));
          SafetensorsFile copy = SafetensorsFile.open(saved.resolve(name))) {
        assertThat(copy.entries().keySet())
            .containsExactlyInAnyOrderElementsOf(original.entries().keySet());
        assertThat(copy.entries().values()).allMatch(entry -> entry.dtype() == DType.F16);
      }
    }
  }

  @Test
  void partsAreExchanged() throws IOException {
    try (DiffusionModel model = DiffusionModel.load(Golden.SD15, DType.F32);
        var other = new UNet2DConditionModel(model.unet().config())) {
      assertThat(model.withUnet(other).unet()).isSameAs(other);
      assertThat(model.withUnet(other).vae()).isSameAs(model.vae());
      var config = model.schedulerConfig().put("prediction_type", "v_prediction");
      assertThat(model.withScheduler(config).schedulerConfig()).isEqualTo(config);
      assertThat(model.schedulerConfig()).isNotEqualTo(config);
    }
  }

  @Test
  void foreignFoldersAreLeftAlone() throws IOException {
    Path thesis = Files.writeString(folder.resolve("thesis.txt"), "years of work");
    try (DiffusionModel model = DiffusionModel.load(Golden.SD15, DType.F32)) {
      assertThatThrownBy(() -> model.save(folder, DType.F32, Map.of()))
          .hasMessageContaining("holds no model");
    }
    assertThat(thesis).hasContent("years of work");
    assertThatThrownBy(() -> DiffusionModel.load(folder, DType.F32))
        .hasMessageContaining("model_index.json");
  }
}
