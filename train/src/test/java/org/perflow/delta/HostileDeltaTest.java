package org.perflow.delta;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.flow.Parameterization;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsWriter;
import org.perflow.models.lora.LoraFile;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** Bases that name what is not theirs, and deltas with headers that break their readers. */
class HostileDeltaTest {
  private static final Path SD15 = Path.of("../models/src/test/resources/golden/models/sd15");
  private static final String UNET = "unet/diffusion_pytorch_model.safetensors";

  @TempDir Path temp;
  private Path base;
  private Path delta;

  @BeforeEach
  void aModelBesideASecret() throws IOException {
    base = temp.resolve("models/evil");
    try (Stream<Path> tree = Files.walk(SD15)) {
      for (Path path : tree.toList()) {
        Path copy = base.resolve(SD15.relativize(path).toString());
        Files.createDirectories(copy.getParent());
        Files.copy(path, copy);
      }
    }
    Path secret = Files.createDirectories(temp.resolve("secret"));
    Files.writeString(secret.resolve("key.txt"), "SECRET");
    delta = temp.resolve("delta.safetensors");
    Delta.extract(base.resolve(UNET), base.resolve(UNET), delta);
  }

  private void apply(Path delta) throws IOException {
    DeltaFolder.apply(
        base,
        delta,
        temp.resolve("out/a/model"),
        new DeltaFolder.Sampler(Parameterization.DDIM_EPS, 4),
        Delta.Options.DEFAULTS,
        Map.of());
  }

  private List<String> written() throws IOException {
    if (!Files.exists(temp.resolve("out"))) {
      return List.of();
    }
    try (Stream<Path> tree = Files.walk(temp.resolve("out"))) {
      return tree.filter(Files::isRegularFile).map(Path::toString).toList();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"../../secret", "..", "/SECRET", "vae/../../../secret", "..\\secret"})
  void nothingOutsideTheBaseIsReadOrWritten(String name) throws IOException {
    Path index = base.resolve("model_index.json");
    ObjectNode json = Json.readObject(index);
    String component = name.replace("/SECRET", temp.resolve("secret").toString());
    json.putArray(component).add("a").add("b");
    Json.write(index, json);
    assertThatThrownBy(() -> apply(delta))
        .isInstanceOf(FormatException.class)
        .hasMessage(
            "%s: '%s' is no name of a file or folder beside it".formatted(index, component));
    assertThat(written()).isEmpty();
  }

  @Test
  void linksThatLeaveTheBaseOrGoInCirclesAreNamed() throws IOException {
    Path link = base.resolve("vae/up");
    Files.createSymbolicLink(link, Path.of(".."));
    assertThatThrownBy(() -> apply(delta))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("is a link that goes in a circle");
    Files.delete(link);
    Files.createSymbolicLink(link, temp.resolve("secret/key.txt"));
    assertThatThrownBy(() -> apply(delta))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining(link + " is a link that leaves " + base);
    assertThat(written()).isEmpty();
    Files.delete(link);
    apply(delta); // the base itself is sound
    assertThat(written()).isNotEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"a\": | Unexpected end-of-input",
        "[] | expected a JSON object, got []",
        "'' | expected JSON, got nothing",
        "[[[[ | ",
        "{\"beta_start\": NaN, \"_class_name\": \"PeRFlowScheduler\"} | beta_start: got",
        "{\"num_train_timesteps\": \"x\"} | num_train_timesteps: got \"x\"",
        "{\"num_train_timesteps\": 2147483647, \"_class_name\": \"PeRFlowScheduler\"} "
            + "| num_train_timesteps: got 2147483647, expected a whole number from 1 to 100000",
      })
  void headersAreChecked(String scheduler, String problem) throws IOException {
    Path file = temp.resolve("hostile.safetensors");
    String text = scheduler.equals("[[[[") ? "[".repeat(5000) : scheduler;
    try (Scope scope = Scope.open()) {
      SafetensorsWriter.write(
          file,
          Map.of("conv_in.bias", Tensor.full(0, 1)),
          Map.of("kind", "perflow-delta", LoraFile.SCHEDULER, text));
    }
    assertTimeoutPreemptively(
        Duration.ofSeconds(30),
        () -> {
          assertThatThrownBy(() -> Delta.info(file))
              .isInstanceOf(FormatException.class)
              .hasMessageStartingWith(file + ": perflow_scheduler_config in its header: ")
              .hasMessageContaining(problem == null ? "" : problem)
              .hasMessageNotContaining("REDACTED");
          assertThatThrownBy(() -> apply(file)).isInstanceOf(FormatException.class);
        });
  }

  @Test
  void samplersThatADeltaTakesAlongAreChecked() throws IOException {
    Path config = base.resolve("scheduler/scheduler_config.json");
    Json.write(config, Json.readObject(config).put("num_train_timesteps", Integer.MAX_VALUE));
    assertThatThrownBy(() -> DeltaFolder.extract(SD15, base, delta, DType.F32))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith(config + ": num_train_timesteps: got 2147483647");
  }

  @ParameterizedTest
  @ValueSource(doubles = {Double.NaN, Double.NEGATIVE_INFINITY, 1e308})
  void factorsThatLeaveNoNumbersAreRefused(double factor) throws IOException {
    Path one = temp.resolve("one.safetensors");
    try (Scope scope = Scope.open()) {
      SafetensorsWriter.write(one, Map.of("conv_in.bias", Tensor.full(1, 1)), Map.of());
    }
    Path out = temp.resolve("scaled.safetensors");
    assertThatThrownBy(() -> Delta.scale(one, factor, out)).hasMessageContaining("finite");
    assertThat(out).doesNotExist();
  }

  @Test
  void aScaleThatIsNoNumberIsNamed() throws IOException {
    Path file = temp.resolve("hostile.safetensors");
    try (Scope scope = Scope.open()) {
      SafetensorsWriter.write(
          file, Map.of("conv_in.bias", Tensor.full(0, 1)), Map.of("scale", "much"));
    }
    assertThatThrownBy(() -> Delta.scale(file, 2, temp.resolve("twice.safetensors")))
        .isInstanceOf(FormatException.class)
        .hasMessage(file + ": scale in its header is 'much', expected a number");
  }
}
