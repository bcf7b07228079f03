package org.perflow.models;

import static java.nio.file.StandardCopyOption.REPLACE_EXISTING;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.NamedTensors;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** The forms in which people have their folders. */
class ModelFolderTest {
  private static final String WEIGHTS = "diffusion_pytorch_model.safetensors";

  @TempDir Path folder;

  /**
   * Copies a golden network's weights under other names, those that {@code rename} gives null not.
   */
  private void rewrite(
      String part, String file, String name, DType as, UnaryOperator<String> rename)
      throws IOException {
    Files.copy(
        Golden.SD15.resolve(part).resolve("config.json"),
        folder.resolve("config.json"),
        REPLACE_EXISTING);
    try (Scope scope = Scope.open();
        NamedTensors source = SafetensorsFile.open(Golden.SD15.resolve(part).resolve(file))) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      for (String key : source.entries().keySet()) {
        Tensor tensor = source.read(key);
        String renamed = rename.apply(key);
        if (renamed.matches(".*\\.(query|key|value|proj_attn)\\.weight")) {
          tensor = tensor.unsqueeze(-1).unsqueeze(-1); // 1x1 kernels, as LDM had them
        }
        if (!renamed.isEmpty()) {
          tensors.put(renamed, tensor);
        }
      }
      SafetensorsWriter.write(folder.resolve(name), tensors, as, Map.of());
    }
  }

  @Test
  void autoencodersWithTheOldAttentionNames() throws IOException {
    rewrite(
        "vae",
        WEIGHTS,
        WEIGHTS,
        DType.F32,
        key ->
            key.replace(".to_q.", ".query.")
                .replace(".to_k.", ".key.")
                .replace(".to_v.", ".value.")
                .replace(".to_out.0.", ".proj_attn."));
    try (AutoencoderKL old = AutoencoderKL.load(folder, DType.F32);
        AutoencoderKL current = AutoencoderKL.load(Golden.SD15.resolve("vae"), DType.F32)) {
      Golden.assertSameBits(old, current);
    }
  }

  @Test
  void variantsAndPrefixedTextEncoders() throws IOException {
    rewrite(
        "text_encoder",
        "model.safetensors",
        "model.fp16.safetensors",
        DType.F16,
        key -> "text_model." + key);
    try (CLIPTextModel half = CLIPTextModel.load(folder, DType.F16);
        CLIPTextModel whole = CLIPTextModel.load(Golden.SD15.resolve("text_encoder"), DType.F16)) {
      Golden.assertSameBits(half, whole);
    }
  }

  @Test
  void shards() throws IOException {
    String first = "diffusion_pytorch_model-00001-of-00002.safetensors";
    String second = "diffusion_pytorch_model-00002-of-00002.safetensors";
    rewrite("unet", WEIGHTS, first, DType.F32, key -> key.startsWith("up_") ? "" : key);
    rewrite("unet", WEIGHTS, second, DType.F32, key -> key.startsWith("up_") ? key : "");
    var map = Json.MAPPER.createObjectNode();
    try (NamedTensors all = SafetensorsFile.open(Golden.SD15.resolve("unet").resolve(WEIGHTS))) {
      all.entries().keySet().forEach(key -> map.put(key, key.startsWith("up_") ? second : first));
    }
    Json.write(
        folder.resolve(WEIGHTS + ".index.json"),
        Json.MAPPER.createObjectNode().set("weight_map", map));
    try (var sharded = UNet2DConditionModel.load(folder, DType.F32);
        var whole = UNet2DConditionModel.load(Golden.SD15.resolve("unet"), DType.F32)) {
      Golden.assertSameBits(sharded, whole);
    }
  }

  @Test
  void weightsOfAnotherFamilyAreNamed() throws IOException {
    Files.copy(Golden.SD15.resolve("unet/config.json"), folder.resolve("config.json"));
    Files.copy(Golden.ROOT.resolve("models/sdxl/unet").resolve(WEIGHTS), folder.resolve(WEIGHTS));
    assertThatThrownBy(() -> UNet2DConditionModel.load(folder, DType.F32))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining(
            "the file holds: SDXL U-Net, the folder's config.json describes: SD-1.x U-Net")
        .hasMessageContaining("more");
    Files.delete(folder.resolve(WEIGHTS));
    Files.copy(Golden.SD15.resolve("vae").resolve(WEIGHTS), folder.resolve(WEIGHTS));
    assertThatThrownBy(() -> UNet2DConditionModel.load(folder, DType.F32))
        .hasMessageContaining("the file holds: Stable Diffusion autoencoder");
  }

  @Test
  void configsWithMissingKeysTakeTheDefaultsOfDiffusers() throws IOException {
    var empty = Json.MAPPER.readTree("{}");
    assertThat(UNetConfig.of(empty))
        .isEqualTo(
            UNetConfig.of(
                Json.MAPPER.readTree(
                    "{\"cross_attention_dim\": 1280, \"attention_head_dim\": 8, \"sample_size\": null,"
                        + " \"block_out_channels\": [320, 640, 1280, 1280], \"layers_per_block\": 2}")));
    assertThat(VaeConfig.of(empty).scalingFactor()).isEqualTo(0.18215);
    assertThat(VaeConfig.of(empty).blockOutChannels()).containsExactly(64);
    assertThat(ClipTextConfig.of(empty).hiddenSize()).isEqualTo(512);
  }

  @Test
  void theStandardTokenizerNeedsNoFolder() throws IOException {
    CLIPTokenizer full = CLIPTokenizer.load(Golden.ROOT.resolve("tokenizer_full"));
    CLIPTokenizer standard = CLIPTokenizer.standard("<|endoftext|>");
    assertThat(full.standardParts()).contains("merges.txt", "vocab.json", "tokenizer.json");
    assertThat(standard.encode("A café ☂ in 2024")).isEqualTo(full.encode("A café ☂ in 2024"));
    standard.save(folder);
    assertThat(
            Files.mismatch(
                folder.resolve("merges.txt"), Golden.ROOT.resolve("tokenizer_full/merges.txt")))
        .isEqualTo(-1);
    assertThat(CLIPTokenizer.load(folder).standardParts()).isNotEmpty();
    assertThat(CLIPTokenizer.load(Golden.SD15.resolve("tokenizer")).standardParts()).isEmpty();
  }
}
