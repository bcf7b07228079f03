package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;

/** {@code inspect} and {@code convert} on the models of this repository. */
class InspectCommandTest {
  private static final Path SD15 =
      Path.of("..", "models", "src", "test", "resources", "golden", "models", "sd15");
  private static final Path TORCH =
      Path.of("..", "io", "src", "test", "resources", "golden", "torch");

  @TempDir Path folder;

  @Test
  void foldersAndTheirSingleFilesAreTheSameModel() throws Exception {
    Path file = folder.resolve("model.safetensors");
    Path back = folder.resolve("back");
    assertThat(Commands.run("convert", SD15.toString(), file.toString()).err()).isEmpty();
    assertThat(Commands.run("convert", file.toString(), back.toString()).err()).isEmpty();
    JsonNode whole = json(SD15);
    JsonNode single = json(file);
    assertThat(whole.path("kind").asText()).isEqualTo("StableDiffusionPipeline");
    assertThat(single.path("kind").asText()).isEqualTo("SD-1.x single-file checkpoint");
    assertThat(single.path("parameters")).isEqualTo(whole.path("parameters"));
    assertThat(single.path("scheduler")).isEqualTo(whole.path("scheduler"));
    assertThat(json(back).path("components")).isEqualTo(whole.path("components"));
    assertThat(whole.path("parameters").asLong()).isGreaterThan(1_000_000);
    String text = Commands.run("inspect", SD15.toString(), "--largest", "1").out();
    assertThat(text)
        .contains("SD-1.x U-Net", "Stable Diffusion autoencoder", "F32", "predicts epsilon")
        .contains("DDIMScheduler, betas scaled_linear 8.5E-4 to 0.012 over 1000 steps");
  }

  private static JsonNode json(Path model) throws Exception {
    return Json.MAPPER.readTree(Commands.run("inspect", model.toString(), "--json").out());
  }

  @Test
  void deltasShowWhatChanges() throws Exception {
    Path base = SD15.resolve("vae/diffusion_pytorch_model.safetensors");
    Path delta = folder.resolve("delta.safetensors");
    Commands made =
        Commands.run("delta", "extract", "--base=" + base, "--student=" + base, "--out=" + delta);
    assertThat(made.err()).isEmpty();
    JsonNode contents = json(delta);
    assertThat(contents.path("kind").asText()).startsWith("delta of");
    assertThat(contents.path("delta")).hasSize(152);
    assertThat(contents.path("delta").path(0).path("norm").asDouble()).isZero();
    assertThat(contents.path("provenance").path("base_sha256").asText()).hasSize(64);
  }

  @Test
  void badInputIsOneLineAndExitCodeTwo() throws Exception {
    assertBad("no such file or folder", "inspect", folder.resolve("none").toString());
    assertBad("asks for posix.system", "inspect", TORCH.resolve("hostile.bin").toString());
    assertBad("is missing", "inspect", folder.toString());
    Path broken = Files.writeString(folder.resolve("x.safetensors"), "truncated");
    assertBad("x.safetensors", "inspect", broken.toString());
    assertBad("x.safetensors", "generate", "--model", broken.toString(), "--prompt", "cat");
    assertBad("ends in .safetensors", "convert", SD15.toString(), folder.resolve("y").toString());
    Path vae = SD15.resolve("vae/diffusion_pytorch_model.safetensors");
    assertBad("autoencoder", "convert", vae.toString(), folder.resolve("y").toString());
  }

  private static void assertBad(String message, String... args) {
    Commands result = Commands.run(args);
    assertThat(result.exitCode()).as(result.err()).isEqualTo(2);
    assertThat(result.err()).contains(message).hasLineCount(1);
    assertThat(result.out()).isEmpty();
  }
}
