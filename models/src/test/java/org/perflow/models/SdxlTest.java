package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsFile;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** The parts that Stable Diffusion XL adds, against diffusers and transformers. */
class SdxlTest {
  private static final Path FOLDER = Golden.ROOT.resolve("models/sdxl");
  private static final String CLIP = "modules/clip.safetensors";

  @Test
  void theUnetEqualsDiffusers() throws IOException {
    String file = "modules/unet_sdxl.safetensors";
    try (var unet = UNet2DConditionModel.load(FOLDER.resolve("unet"), DType.F32);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor sample = Golden.read(file, "sample");
      Tensor time = Golden.read(file, "timestep");
      Tensor text = Golden.read(file, "encoder_hidden_states");
      var added =
          new AddedConditions(Golden.read(file, "text_embeds"), Golden.read(file, "time_ids"));
      Golden.assertClose(
          "unet_sdxl",
          unet.forward(sample, time, text, added, null, null),
          Golden.read(file, "output"));
      assertThatThrownBy(() -> unet.forward(sample, time, text))
          .hasMessageContaining("text_embeds");
      assertThat(UNetConfig.of(unet.config().toJson())).isEqualTo(unet.config());
    }
  }

  @Test
  void bothTextEncodersEqualTransformers() throws IOException {
    try (var first = CLIPTextModel.load(FOLDER.resolve("text_encoder"), DType.F32);
        var second = CLIPTextModelWithProjection.load(FOLDER.resolve("text_encoder_2"), DType.F32);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      var one = first.forward(Golden.read(CLIP, "ids")).hiddenStates();
      Golden.assertClose(
          "xl1_penultimate", one.get(one.size() - 2), Golden.read(CLIP, "xl1_penultimate"));
      var two = second.forward(Golden.read(CLIP, "ids2"), DType.F32);
      Golden.assertClose(
          "xl2_penultimate",
          two.hiddenStates().get(one.size() - 2),
          Golden.read(CLIP, "xl2_penultimate"));
      Golden.assertClose("xl2_text_embeds", two.textEmbeds(), Golden.read(CLIP, "xl2_text_embeds"));
    }
  }

  @Test
  void theFolderIsSavedAsItWasLoaded(@TempDir Path temp) throws IOException {
    Path copy = temp.resolve("copy");
    try (DiffusionModel model = DiffusionModel.load(FOLDER, DType.F32)) {
      model.save(copy, DType.F32, Map.of());
      assertThatThrownBy(
              () ->
                  new DiffusionModel(
                      model.unet(),
                      model.vae(),
                      model.textEncoder(),
                      model.tokenizer(),
                      model.schedulerConfig()))
          .hasMessageContaining("second text encoder");
    }
    for (String name :
        new String[] {
          "unet/diffusion_pytorch_model.safetensors", "text_encoder_2/model.safetensors"
        }) {
      try (SafetensorsFile original = SafetensorsFile.open(FOLDER.resolve(name));
          SafetensorsFile saved = SafetensorsFile.open(copy.resolve(name));
          Scope scope = Scope.open()) {
        assertThat(saved.entries().keySet())
            .containsExactlyInAnyOrderElementsOf(original.entries().keySet());
        for (String key : original.entries().keySet()) {
          assertThat(saved.read(key).toFloatArray())
              .as(key)
              .isEqualTo(original.read(key).toFloatArray());
        }
      }
    }
    assertThat(Json.read(copy.resolve("model_index.json")).path("_class_name").asText())
        .isEqualTo("StableDiffusionXLPipeline");
    try (DiffusionModel reread = DiffusionModel.load(copy, DType.F32)) {
      assertThat(reread.second().forceZerosForEmptyPrompt()).isTrue();
      assertThat(reread.second().tokenizer().encode("a cat")[4]).isZero(); // pads with "!"
    }
  }
}
