package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.io.Json;
import org.perflow.tensor.Device;

/** Every option of {@code perflow benchmark}, on a tiny model; families at their published size. */
class BenchmarkCommandTest {
  private static final Path TINY = Path.of("../models/src/test/resources/golden/models/sd15");
  private final int threads = Device.threads();

  @AfterEach
  void threadsAsBefore() {
    Device.threads(threads);
  }

  private static JsonNode measured(String... more) throws IOException {
    String[] all = new String[more.length + 4];
    all[0] = "benchmark";
    all[1] = TINY.toString();
    all[2] = "--device=cpu";
    all[3] = "--json";
    System.arraycopy(more, 0, all, 4, more.length);
    Commands result = Commands.run(all);
    assertThat(result.err()).isEmpty();
    assertThat(result.exitCode()).isZero();
    return Json.MAPPER.readTree(result.out());
  }

  @ParameterizedTest
  @CsvSource({"float32, 1, 32", "bfloat16, 2, 64"})
  void drawsInThatTypeWithThoseThreadsAtThatSize(String type, int count, int size)
      throws IOException {
    JsonNode measured = measured("--dtype=" + type, "--threads=" + count, "--size=" + size);
    assertThat(Device.threads()).isEqualTo(count);
    assertThat(measured.path("model").asText()).isEqualTo("sd15");
    assertThat(measured.path("dtype").asText()).isEqualTo(type);
    assertThat(measured.path("size").asInt()).isEqualTo(size);
    assertThat(measured.at("/sample/teraflops").asDouble()).isPositive();
    assertThat(measured.path("limitTeraflops").asDouble()).isPositive();
  }

  @Test
  void trainsFactors() throws IOException {
    JsonNode measured =
        measured("--train", "--size=32", "--solving-steps=1", "--lora-rank=2", "--moments=int8");
    assertThat(measured.path("loss").asDouble()).isFinite().isPositive();
    assertThat(measured.at("/train/seconds").asDouble()).isPositive();
    assertThat(measured.path("sample").isNull()).isTrue();
  }

  @Test
  void saysHowNearTheLimitOfTheMachineItIs() {
    Commands result =
        Commands.run("benchmark", TINY.toString(), "--size=32", "--dtype=float32", "--device=cpu");
    assertThat(result.out())
        .matches(
            "(?s)sd15, [0-9,]+ weights, float32: 4 steps at 32 pixels in .* s .*, peak .* GB;"
                + " [0-9.]+ TFLOP/s, [0-9]+ % of the [0-9.]+ that large products reach here\\R");
  }

  @Tag("slow") // up to 8 GB
  @ParameterizedTest
  @CsvSource({"sd1, float32", "sd2, float32", "sdxl, bfloat16"})
  void familiesHaveTheirPublishedSize(String family, String type) {
    Commands result =
        Commands.run("benchmark", family, "--size=64", "--dtype=" + type, "--device=cpu");
    assertThat(result.exitCode()).isZero();
    assertThat(result.out())
        .startsWith(
            switch (family) {
              case "sd1" -> "SD1, 859,520,964 weights, float32";
              case "sd2" -> "SD2, 865,910,724 weights, float32";
              default -> "SDXL, 2,567,463,684 weights, bfloat16";
            })
        .contains("TFLOP/s");
  }
}
