package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.LazyTensor;
import org.perflow.io.NamedTensors;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.io.TensorView;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Module;

class SingleFileTest {
  private static final String UNET = "model.diffusion_model.";

  @TempDir Path folder;

  // ---------------------------------------------------------------- the full models

  /** {single-file key: [folder key, shape in the single file]} of a full-size model. */
  private static JsonNode keys(String family) throws IOException {
    return Json.read(Golden.ROOT.resolve("single_file_keys_" + family + ".json"));
  }

  private static long[] shape(JsonNode key) {
    return StreamSupport.stream(key.path(1).spliterator(), false)
        .mapToLong(JsonNode::asLong)
        .toArray();
  }

  /** A tensor that is not there: only names and shapes are looked at. */
  private static LazyTensor absent(long... shape) {
    return new LazyTensor(
        DType.F16,
        shape,
        () -> {
          throw new IOException("nothing is read here");
        });
  }

  private static SingleFile fullModel(String family) throws IOException {
    Map<String, LazyTensor> tensors = new LinkedHashMap<>();
    keys(family)
        .properties()
        .forEach(key -> tensors.put(key.getKey(), absent(shape(key.getValue()))));
    return new SingleFile(new TensorView(family, tensors, Map.of(), () -> {}));
  }

  @ParameterizedTest
  @CsvSource({"sd15, SD1, 1130", "sdxl, SDXL, 1928"})
  void everyKeyOfTheFullModelHasItsPlace(String name, String family, int count) throws IOException {
    JsonNode keys = keys(name);
    assertThat(keys).hasSize(count);
    int mapped = 0;
    try (SingleFile file = fullModel(name)) {
      assertThat(file.family()).hasToString(family);
      for (SingleFile.Part part : SingleFile.parts(file.family())) {
        if (!file.components().contains(part.folder())) {
          continue; // the list for SDXL has no text encoders
        }
        NamedTensors weights = file.weights(part.folder());
        Map<String, LazyTensor> view = new LinkedHashMap<>();
        weights.entries().keySet().forEach(key -> view.put(key, LazyTensor.of(weights, key)));
        var back = part.conversion().toSingleFile(view, file.config(part.folder()));
        for (var key : keys.properties()) {
          if (key.getKey().startsWith(part.prefix())) {
            String folderKey = key.getValue().path(0).asText();
            long[] ldm = shape(key.getValue());
            assertThat(weights.entries()).containsKey(folderKey);
            assertThat(elements(weights.entry(folderKey).shape())).isEqualTo(elements(ldm));
            LazyTensor again = back.remove(key.getKey().substring(part.prefix().length()));
            assertThat(again).as(key.getKey()).isNotNull();
            assertThat(again.shape()).isEqualTo(ldm);
            view.remove(folderKey);
            mapped++;
          }
        }
        assertThat(view).isEmpty(); // nothing else came out, in either direction
        assertThat(back).isEmpty();
      }
    }
    assertThat(mapped).isEqualTo(count);
  }

  private static long elements(long[] shape) {
    return LongStream.of(shape).reduce(1, (a, b) -> a * b);
  }

  @Test
  void theViewsFitOurModules() throws IOException {
    try (SingleFile file = fullModel("sd15");
        var unet = new UNet2DConditionModel(UNetConfig.of(file.config("unet")));
        var vae = new AutoencoderKL(VaeConfig.of(file.config("vae")))) {
      assertFits(unet, file.weights("unet"));
      assertFits(vae, file.weights("vae"));
    }
  }

  private static void assertFits(Module module, NamedTensors weights) {
    assertThat(module.namedParameters().keySet())
        .containsExactlyInAnyOrderElementsOf(weights.entries().keySet());
    module
        .namedParameters()
        .forEach(
            (name, parameter) ->
                assertThat(weights.entry(name).shape()).as(name).isEqualTo(parameter.shape()));
  }

  // ---------------------------------------------------------------- there and back

  @ParameterizedTest
  @ValueSource(strings = {"sd15", "sdxl"})
  void folderToFileToFolderIsExact(String name) throws IOException {
    Path original = Golden.ROOT.resolve("models").resolve(name);
    Path file = folder.resolve("model.safetensors");
    Path back = folder.resolve("back");
    ModelConversion.toSingleFile(original, file, null);
    ModelConversion.toFolder(file, back, null);
    try (var paths = Files.walk(original)) {
      for (Path path : paths.filter(Files::isRegularFile).toList()) {
        Path copy = back.resolve(original.relativize(path));
        if (path.toString().endsWith(".safetensors")) {
          assertSameTensors(path, copy);
        } else {
          assertThat(Files.mismatch(path, copy)).as(path.toString()).isEqualTo(-1);
        }
      }
    }
    Path again = folder.resolve("again.safetensors");
    ModelConversion.toSingleFile(back, again, null);
    assertThat(Files.mismatch(file, again)).isEqualTo(-1);
  }

  private static void assertSameTensors(Path expected, Path actual) throws IOException {
    try (NamedTensors want = SafetensorsFile.open(expected);
        NamedTensors got = SafetensorsFile.open(actual)) {
      assertThat(got.entries()).hasSameSizeAs(want.entries());
      for (String name : want.entries().keySet()) {
        try (Scope scope = Scope.open()) {
          String now =
              expected.toString().contains("text_enc") ? OldNames.withTextModel(name) : name;
          assertThat(got.entry(now).shape()).as(name).isEqualTo(want.entry(name).shape());
          assertThat(got.read(now).toFloatArray())
              .as(name)
              .isEqualTo(want.read(name).toFloatArray());
        }
      }
    }
  }

  @Test
  void aSingleFileIsTheSameModel() throws IOException {
    Path file = folder.resolve("model.safetensors");
    ModelConversion.toSingleFile(Golden.SD15, file, null);
    try (DiffusionModel one = DiffusionModel.load(file, DType.F32);
        DiffusionModel other = DiffusionModel.load(Golden.SD15, DType.F32)) {
      assertThat(one.schedulerConfig()).isEqualTo(other.schedulerConfig());
      assertThat(one.tokenizer().encode("a cat")).isEqualTo(other.tokenizer().encode("a cat"));
      Golden.assertSameBits(one.unet(), other.unet());
      Golden.assertSameBits(one.vae(), other.vae());
      Golden.assertSameBits(one.textEncoder(), other.textEncoder());
    }
  }

  // ---------------------------------------------------------------- OpenCLIP

  @Test
  void openClipInputsAreSplitAndTheProjectionIsTurned() throws IOException {
    JsonNode config =
        Json.MAPPER.readTree(
            "{\"num_hidden_layers\": 1, \"architectures\": [\"CLIPTextModelWithProjection\"]}");
    try (Scope scope = Scope.open()) {
      Map<String, LazyTensor> ldm = new LinkedHashMap<>();
      ldm.put(
          "transformer.resblocks.0.attn.in_proj_weight",
          LazyTensor.of(Tensor.arange(12).reshape(6, 2)));
      ldm.put("transformer.resblocks.0.attn.in_proj_bias", LazyTensor.of(Tensor.arange(6)));
      ldm.put("transformer.resblocks.0.mlp.c_fc.bias", LazyTensor.of(Tensor.arange(8)));
      ldm.put("text_projection", LazyTensor.of(Tensor.arange(6).reshape(2, 3)));
      Map<String, LazyTensor> more = new LinkedHashMap<>(ldm);
      more.put("logit_scale", absent());
      more.put("transformer.resblocks.1.ln_1.bias", absent(2)); // SD-2.x stops one layer earlier
      more.put("transformer.resblocks.1.attn.in_proj_bias", absent(6));
      Map<String, LazyTensor> folderKeys = LdmTensors.OPEN_CLIP.toFolder(more, config);
      String layer = "text_model.encoder.layers.0.";
      assertThat(folderKeys)
          .containsOnlyKeys(
              layer + "self_attn.q_proj.weight",
              layer + "self_attn.k_proj.weight",
              layer + "self_attn.v_proj.weight",
              layer + "self_attn.q_proj.bias",
              layer + "self_attn.k_proj.bias",
              layer + "self_attn.v_proj.bias",
              layer + "mlp.fc1.bias",
              "text_projection.weight");
      assertThat(values(folderKeys, layer + "self_attn.k_proj.weight")).containsExactly(4, 5, 6, 7);
      assertThat(values(folderKeys, layer + "self_attn.v_proj.bias")).containsExactly(4, 5);
      assertThat(folderKeys.get("text_projection.weight").shape()).containsExactly(3, 2);
      assertThat(values(folderKeys, "text_projection.weight")).containsExactly(0, 3, 1, 4, 2, 5);
      Map<String, LazyTensor> back = LdmTensors.OPEN_CLIP.toSingleFile(folderKeys, config);
      assertThat(back.keySet()).containsExactlyInAnyOrderElementsOf(ldm.keySet());
      for (String name : ldm.keySet()) {
        assertThat(back.get(name).shape()).isEqualTo(ldm.get(name).shape());
        assertThat(values(back, name)).as(name).isEqualTo(values(ldm, name));
      }
      folderKeys.remove(layer + "self_attn.k_proj.bias");
      assertThatThrownBy(() -> LdmTensors.OPEN_CLIP.toSingleFile(folderKeys, config))
          .hasMessageContaining("it lacks " + layer + "self_attn.k_proj.bias");
    }
  }

  private static long[] values(Map<String, LazyTensor> tensors, String name) throws IOException {
    return tensors.get(name).read(DType.I64).toLongArray();
  }

  // ---------------------------------------------------------------- recognition

  private static SingleFile file(Map<String, String> metadata, String... keys) throws IOException {
    Map<String, LazyTensor> tensors = new LinkedHashMap<>();
    for (String key : keys) {
      String[] parts = key.split(" ");
      tensors.put(
          parts[0], absent(Arrays.stream(parts).skip(1).mapToLong(Long::parseLong).toArray()));
    }
    return new SingleFile(new TensorView("made.safetensors", tensors, metadata, () -> {}));
  }

  @Test
  void predictionTypeAndInputChannelsComeFromTheFile() throws IOException {
    String sd1 = UNET + "input_blocks.1.1.proj_in.weight 320 320 1 1";
    String sd2 = UNET + "input_blocks.1.1.proj_in.weight 320 320";
    String sdxl = UNET + "label_emb.0.0.weight 1280 2816";
    String masked = UNET + "input_blocks.0.0.weight 320 9 3 3";
    assertThat(prediction(Map.of(), sd1)).isEqualTo("epsilon");
    assertThat(prediction(Map.of(), sd2)).isEqualTo("v_prediction");
    assertThat(prediction(Map.of("modelspec.prediction_type", "epsilon"), sd2))
        .isEqualTo("epsilon");
    assertThat(prediction(Map.of("modelspec.prediction_type", "v"), sd1)).isEqualTo("v_prediction");
    assertThat(prediction(Map.of(), sdxl)).isEqualTo("epsilon");
    assertThat(prediction(Map.of(), sdxl, "v_pred")).isEqualTo("v_prediction");
    try (SingleFile file = file(Map.of(), sdxl, "v_pred", "ztsnr", masked)) {
      assertThat(file.schedulerConfig().path("rescale_betas_zero_snr").asBoolean()).isTrue();
      assertThat(file.config("unet").path("in_channels").asInt()).isEqualTo(9);
      assertThat(file.config("text_encoder_2").path("num_hidden_layers").asInt()).isEqualTo(32);
      assertThat(file.tokenizer("tokenizer").encode("")).endsWith(49407, 49407);
      assertThat(file.tokenizer("tokenizer_2").encode("")).startsWith(49406, 49407).endsWith(0, 0);
      assertThatThrownBy(() -> file.weights("vae"))
          .isInstanceOf(FormatException.class)
          .hasMessageContaining("made.safetensors holds no vae, only [unet]");
    }
  }

  private static String prediction(Map<String, String> metadata, String... keys)
      throws IOException {
    try (SingleFile file = file(metadata, keys)) {
      return file.schedulerConfig().path("prediction_type").asText();
    }
  }

  @Test
  void whatIsNoCheckpointOfOursIsNamed() throws IOException {
    assertThatThrownBy(
            () ->
                file(
                    Map.of(),
                    UNET + "label_emb.0.0.weight 1536 2560",
                    "conditioner.embedders.0.model.transformer.resblocks.0.ln_1.bias 1280"))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("SDXL refiner single-file checkpoint, which is not built");
    String sdxl = UNET + "label_emb.0.0.weight 1280 2816";
    assertThatThrownBy(() -> file(Map.of(), sdxl, "edm_mean", "edm_std"))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("Playground v2.5", "which is not built");
    assertThatThrownBy(() -> file(Map.of(), sdxl, "edm_vpred.sigma_max", "edm_vpred.sigma_min"))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("CosXL", "which is not built");
    assertThatThrownBy(() -> file(Map.of("modelspec.prediction_type", "edm"), sdxl))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("its network predicts 'edm', which is not built");
    assertThatThrownBy(() -> file(Map.of(), "model_ema.diffusion_modelout2weight 4 320 3 3"))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("it holds: averaged weights alone (EMA");
    assertThatThrownBy(() -> file(Map.of(), UNET + "double_blocks.0.img_attn.qkv.weight 9 3"))
        .hasMessageContaining("FLUX");
    assertThatThrownBy(() -> file(Map.of(), "lora_unet_x.lora_down.weight 4 320"))
        .hasMessageContaining("it holds: LoRA");
    Path vae = Golden.SD15.resolve("vae/diffusion_pytorch_model.safetensors");
    assertThatThrownBy(() -> DiffusionModel.load(vae, DType.F32))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("it holds: Stable Diffusion autoencoder");
    assertThatThrownBy(() -> ModelConversion.toSingleFile(folder, folder.resolve("x"), null))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("model_index.json");
  }

  @Test
  void aFileCannotWriteOutsideItsFolder() throws IOException {
    Path file = folder.resolve("model.safetensors");
    ModelConversion.toSingleFile(Golden.SD15, file, null);
    Path hostile = folder.resolve("hostile.safetensors");
    try (Scope scope = Scope.open();
        NamedTensors source = SafetensorsFile.open(file)) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      for (String name : source.entries().keySet()) {
        tensors.put(name, source.read(name));
      }
      var files = Json.MAPPER.readTree(source.metadata().get(FamilyConfigs.METADATA));
      String text = ((ObjectNode) files).put("../owned.txt", "x").toString();
      SafetensorsWriter.write(hostile, tensors, Map.of(FamilyConfigs.METADATA, text));
    }
    assertThatThrownBy(() -> ModelConversion.toFolder(hostile, folder.resolve("out"), null))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("hostile.safetensors: '..' is no name of a file or folder beside it");
    try (var left = Files.list(folder)) {
      assertThat(left.toList()).containsExactlyInAnyOrderElementsOf(List.of(file, hostile));
    }
  }
}
