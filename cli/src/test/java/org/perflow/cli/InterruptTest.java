package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsFile;

/** A training process that gets the signal of Ctrl-C's family. */
class InterruptTest {
  @TempDir Path folder;

  @Test
  void aStoppedRunLeavesACheckpointOfItsLastStep() throws Exception {
    Path run = folder.resolve("run");
    Process process = accelerate(run);
    try {
      Path log = folder.resolve("log");
      for (int i = 0; i < 1200 && !Files.readString(log).contains("step 1 "); i++) {
        assertThat(process.isAlive()).as("ended early: %s", Files.readString(log)).isTrue();
        Thread.sleep(100);
      }
      process.destroy(); // SIGTERM
      assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
      assertThat(process.exitValue()).isEqualTo(128 + 15);
    } finally {
      process.destroyForcibly();
    }
    List<Path> checkpoints;
    try (var entries = Files.list(run.resolve("checkpoints"))) {
      checkpoints = entries.toList();
    }
    assertThat(checkpoints).hasSize(1);
    Path checkpoint = checkpoints.get(0);
    assertThat(Json.read(checkpoint.resolve("state.json")).path("step").asLong()).isPositive();
    try (SafetensorsFile state = SafetensorsFile.open(checkpoint.resolve("state.safetensors"))) {
      assertThat(state.entries()).containsKey("rng");
    }
  }

  private Process accelerate(Path run) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("-Xmx1g");
    command.add("-Dorg.bytedeco.javacpp.maxBytes=0");
    command.add("-Dorg.bytedeco.javacpp.maxPhysicalBytes=0");
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
    command.addAll(List.of("accelerate", "--teacher", "../models/emoji-64"));
    command.addAll(List.of("--data", "../data/emoji-64/test.tar", "--out", run.toString()));
    command.addAll(List.of("--steps", "100000", "--batch", "4", "--solving-steps", "1"));
    return new ProcessBuilder(command)
        .redirectErrorStream(true)
        .redirectOutput(Files.createFile(folder.resolve("log")).toFile())
        .start();
  }
}
