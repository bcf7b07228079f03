package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.tensor.DType;

/**
 * Absurd numbers in a model's configurations: refused by file, key and value, before it is built.
 */
class ConfigRangesTest {
  private static final String SCHEDULER = "scheduler/scheduler_config.json";

  @TempDir Path folder;

  /** The configurations of golden's model, with another text for one of them, and no weights. */
  private Path model(String file, String text) throws IOException {
    Path model = folder.resolve("model");
    for (String name :
        List.of(
            "model_index.json",
            SCHEDULER,
            "unet/config.json",
            "vae/config.json",
            "text_encoder/config.json",
            "tokenizer/tokenizer_config.json",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt")) {
      Files.createDirectories(model.resolve(name).getParent());
      Files.copy(
          Golden.SD15.resolve(name), model.resolve(name), StandardCopyOption.REPLACE_EXISTING);
    }
    Files.writeString(model.resolve(file), text);
    return model;
  }

  private static String with(String file, String key, String value) throws IOException {
    ObjectNode json = Json.readObject(Golden.SD15.resolve(file));
    return json.set(key, Json.MAPPER.readTree(value)).toString();
  }

  private void assertRefused(String file, String text, String... problem) throws IOException {
    Path model = model(file, text);
    assertTimeoutPreemptively(
        Duration.ofSeconds(30), // nothing is built, so a moment
        () ->
            assertThatThrownBy(() -> DiffusionModel.load(model, DType.F32))
                .isInstanceOf(FormatException.class)
                .hasMessageStartingWith(model.resolve(file).toString())
                .hasMessageContainingAll(problem));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "num_train_timesteps | 2147483647",
        "num_train_timesteps | 1e30",
        "num_train_timesteps | 100000000",
        "num_train_timesteps | 0",
        "num_train_timesteps | -5",
        "num_train_timesteps | 999.5",
        "num_train_timesteps | \"1000\"",
        "num_train_timesteps | [1000]",
        "trained_betas | []",
        "trained_betas | [0.1, 2]",
        "trained_betas | [0.1, \"x\"]",
        "trained_betas | 0.1",
        "beta_start | NaN",
        "beta_start | 0.5", // above beta_end
        "beta_start | -1",
        "beta_start | 0",
        "beta_end | 2",
        "beta_end | 1e300",
        "beta_end | Infinity",
        "beta_schedule | 3",
        "clip_sample | \"no\"",
        "steps_offset | -1",
        "steps_offset | 2147483647",
        "prediction_type | {}",
        "recommended_num_inference_steps | 2147483648",
        "recommended_guidance_scale | NaN",
      })
  void ofSamplers(String key, String value) throws IOException {
    assertRefused(SCHEDULER, with(SCHEDULER, key, value), key);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "unet | layers_per_block | 2147483647",
        "unet | layers_per_block | 100000",
        "unet | layers_per_block | 0",
        "unet | transformer_layers_per_block | 2147483647",
        "unet | norm_num_groups | 0",
        "unet | norm_num_groups | -4",
        "unet | norm_num_groups | 7",
        "unet | attention_head_dim | 0",
        "unet | attention_head_dim | -4",
        "unet | attention_head_dim | 7",
        "unet | sample_size | 0",
        "unet | sample_size | -8",
        "unet | sample_size | 1000000000",
        "unet | sample_size | [8, 1e9]",
        "unet | norm_eps | NaN",
        "unet | norm_eps | -1",
        "unet | freq_shift | NaN",
        "unet | in_channels | 4.5",
        "unet | block_out_channels | 64",
        "unet | block_out_channels | []",
        "unet | block_out_channels | [0, 64]",
        "unet | down_block_types | \"DownBlock2D\"",
        "vae | layers_per_block | 2147483647",
        "vae | norm_num_groups | 0",
        "vae | scaling_factor | 0",
        "vae | scaling_factor | NaN",
        "vae | shift_factor | Infinity",
        "vae | block_out_channels | [64, 1e10]",
        "text_encoder | num_hidden_layers | 2147483647",
        "text_encoder | num_hidden_layers | 100000",
        "text_encoder | num_attention_heads | 0",
        "text_encoder | num_attention_heads | -4",
        "text_encoder | num_attention_heads | 7",
        "text_encoder | vocab_size | -1",
        "text_encoder | layer_norm_eps | NaN",
        "text_encoder | hidden_act | 7",
      })
  void ofNetworks(String part, String key, String value) throws IOException {
    String file = part + "/config.json";
    assertRefused(file, with(file, key, value), key);
  }

  @Test
  void oneTooManyBlocks() throws IOException {
    ObjectNode json = Json.readObject(Golden.SD15.resolve("unet/config.json"));
    json.put("layers_per_block", 32).put("transformer_layers_per_block", 64);
    assertRefused("unet/config.json", json.toString(), "blocks, expected up to 1024");
  }

  @ParameterizedTest
  @ValueSource(strings = {"[]", "null", "3", "\"x\"", "{", ""})
  void configurationsAreObjects(String text) throws IOException {
    for (String file :
        List.of(
            "model_index.json",
            SCHEDULER,
            "unet/config.json",
            "vae/config.json",
            "text_encoder/config.json",
            "tokenizer/tokenizer_config.json")) {
      assertRefused(file, text, "");
    }
  }

  /** The names in a single file depend on these numbers. */
  @ParameterizedTest
  @ValueSource(strings = {"unet", "vae"})
  void ofConversions(String part) throws IOException {
    String file = part + "/config.json";
    Path model = model(file, with(file, "layers_per_block", "2147483647"));
    for (String name : List.of("unet", "vae", "text_encoder")) {
      String weights = name.equals("text_encoder") ? "model" : "diffusion_pytorch_model";
      Path path = Path.of(name, weights + ".safetensors");
      Files.copy(Golden.SD15.resolve(path), model.resolve(path));
    }
    assertTimeoutPreemptively(
        Duration.ofSeconds(30),
        () ->
            assertThatThrownBy(() -> ModelConversion.toSingleFile(model, folder.resolve("x"), null))
                .isInstanceOf(FormatException.class)
                .hasMessageContainingAll(model.resolve(part).toString(), "layers_per_block"));
  }

  /** Everything that models here and the published families have is in its range. */
  @Test
  void whatIsPublishedPasses() throws IOException {
    List<ObjectNode> samplers = new ArrayList<>();
    for (String name : SchedulerConfig.NAMES) {
      samplers.add(SchedulerConfig.named(name));
    }
    for (ObjectNode sampler : samplers) {
      assertThat(SchedulerConfig.checked("x", sampler)).isEqualTo(sampler);
      ObjectNode infinite = sampler.deepCopy().put("lambda_min_clipped", Double.NEGATIVE_INFINITY);
      assertThat(SchedulerConfig.checked("x", infinite)).isEqualTo(infinite);
    }
    for (var family : List.of("sd1", "sd2", "sdxl")) {
      JsonNode files =
          Json.MAPPER.readTree(ConfigRangesTest.class.getResourceAsStream(family + ".json"));
      SchedulerConfig.checked(family, (ObjectNode) files.path(SCHEDULER));
      UNetConfig.of(files.path("unet/config.json"));
      VaeConfig.of(files.path("vae/config.json"));
      ClipTextConfig.of(files.path("text_encoder/config.json"));
    }
  }
}
