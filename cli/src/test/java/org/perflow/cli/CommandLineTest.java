package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;

/** What people see when they mistype: one line and an exit code. */
class CommandLineTest {
  @TempDir Path folder;

  @Test
  void helpAndVersionSucceed() {
    assertThat(Commands.run().out()).contains("Usage: perflow", "data");
    assertThat(Commands.run("--help").exitCode()).isEqualTo(0);
    assertThat(Commands.run("--version").out()).startsWith("perflow ");
    assertThat(Commands.run("data", "emoji", "--help").out()).contains("--styles", "Examples:");
  }

  @Test
  void unknownOptionIsBadUsage() {
    Commands result = Commands.run("data", "emoji", "--out", "x", "--colour", "red");
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err())
        .contains("perflow data emoji:", "'--colour'", "--help")
        .hasLineCount(1);
    assertThat(result.out()).isEmpty();
  }

  @Test
  void unknownCommandIsBadUsage() {
    Commands result = Commands.run("generat");
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains("generat").hasLineCount(1);
  }

  @Test
  void unknownStyleNamesTheKnownOnes() {
    Commands result =
        Commands.run("data", "emoji", "--out", folder.toString(), "--styles", "cubist");
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err())
        .contains("\"cubist\"", "fluent-flat", "twemoji", "noto")
        .hasLineCount(1);
  }

  @Test
  void missingAndBrokenShardsAreBadInput() throws Exception {
    Path missing = folder.resolve("missing.tar");
    assertThat(Commands.run("data", "inspect", missing.toString()).err())
        .contains(missing.toString(), "no such file")
        .hasLineCount(1);
    Path broken = Files.writeString(folder.resolve("broken.tar"), "not a tar at all");
    Commands result = Commands.run("data", "inspect", broken.toString());
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains(broken.toString()).hasLineCount(1);
  }

  @Test
  void stacktraceShowsWhereItHappened() {
    Commands result = Commands.run("data", "inspect", "--stacktrace", "missing.tar");
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains("\tat org.perflow.cli.DataInspectCommand");
  }

  @Test
  void unknownModelIsBadInput() {
    String missing = folder.resolve("model").toString();
    Commands result = Commands.run("generate", "--model", missing, "--prompt", "rocket");
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains(missing, "no such model").hasLineCount(1);
    result = Commands.run("generate", "--model", folder.toString(), "--prompt", "rocket");
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains(folder.toString(), "model_index.json").hasLineCount(1);
  }

  @Test
  void onlyFamiliesThatAreBuiltAreMeasured() {
    Commands result = Commands.run("benchmark", "flux");
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains("FLUX is not built", "SDXL").hasLineCount(1);
  }

  @Test
  void fewerStepsThanWindowsNamesTheAllowedNumbers() {
    String student = Path.of("..", "models", "emoji-64-perflow").toString();
    Commands result =
        Commands.run("generate", "--model", student, "--prompt", "rocket", "--steps", "3");
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains("3 steps", "use 4, 5, 6 or any number above");
  }

  @Test
  void aNegativePromptWithoutGuidanceIsNotDroppedInSilence() {
    String teacher = Path.of("..", "models", "emoji-64").toString();
    Commands result =
        Commands.run(
            "generate", "--model", teacher, "--prompt=cat", "--negative-prompt=x", "--guidance=1");
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains("--negative-prompt", "add --guidance 1.5").hasLineCount(1);
  }

  @Test
  void dryRunPrintsTheEffectiveSettings() throws Exception {
    Path config =
        Files.writeString(
            folder.resolve("config.json"),
            "{\"train\": {\"batch\": 8, \"seed\": 5}, \"perflow\": {\"windows\": 2}}");
    Path shards = Path.of("..", "data", "emoji-64");
    Commands result =
        Commands.run(
            "accelerate",
            "--dry-run",
            "--data=" + shards,
            "--config=" + config,
            "--out=" + folder.resolve("run"),
            "--batch=16",
            "--decay=cosine",
            "--guidance-mode=fixed",
            "--guidance=3",
            "--simulated-starts");
    assertThat(result.err()).startsWith("memory: ").contains("activations of a batch of 16");
    JsonNode settings = Json.MAPPER.readTree(result.out());
    assertThat(settings.at("/train/batch").asInt()).isEqualTo(16); // the command line comes first
    assertThat(settings.at("/train/seed").asInt()).isEqualTo(5);
    assertThat(settings.at("/train/decay").asText()).isEqualTo("COSINE");
    assertThat(settings.at("/perflow/windows").asInt()).isEqualTo(2);
    assertThat(settings.at("/perflow/guidanceMode").asText()).isEqualTo("FIXED");
    assertThat(settings.at("/perflow/simulatedStarts").asBoolean()).isTrue();
    assertThat(folder.resolve("run")).doesNotExist();
  }

  @Test
  void settingsThatDoNotFitAreRefusedBeforeAnythingRuns() throws Exception {
    String out = folder.resolve("run").toString();
    assertThat(Commands.run("accelerate", "--out", out, "--decay", "sudden").err())
        .contains("--decay", "'sudden'", "constant, cosine, linear")
        .hasLineCount(1);
    Path config = Files.writeString(folder.resolve("config.json"), "{\"trian\": {}}");
    Commands result = Commands.run("accelerate", "--out", out, "--config", config.toString());
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains(config.toString(), "\"trian\"").hasLineCount(1);
  }
}
