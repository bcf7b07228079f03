package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsFile;

/** Processes that train or draw and get a signal of Ctrl-C's family. */
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

  @Test
  void whatIsDrawnIsKept() throws Exception {
    Process process =
        perflow(
            "generate",
            "--model=../models/src/test/resources/golden/models/sd15",
            "--prompt=a red apple",
            "--count=5000",
            "--batch=1",
            "--steps=2",
            "--width=32",
            "--height=32",
            "--out=" + folder.resolve("p.png"));
    try {
      for (int i = 0; i < 600 && !Files.exists(folder.resolve("p-003.png")); i++) {
        assertThat(process.isAlive()).as("ended early: %s", log()).isTrue();
        Thread.sleep(100);
      }
      process.destroy(); // SIGTERM
      assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
      assertThat(process.exitValue()).isEqualTo(128 + 15);
    } finally {
      process.destroyForcibly();
    }
    List<Path> pictures;
    try (var files = Files.list(folder)) {
      pictures = files.filter(file -> file.toString().endsWith(".png")).sorted().toList();
    }
    assertThat(pictures).hasSizeBetween(3, 4999).allMatch(InterruptTest::isWhole);
    assertThat(log())
        .contains(
            "stopped; %d of 5000 pictures are written: %s to %s"
                .formatted(pictures.size(), pictures.get(0), pictures.get(pictures.size() - 1)));
    try (var files = Files.list(folder)) {
      assertThat(files).hasSize(pictures.size() + 1); // the log, and nothing half written
    }
  }

  private static boolean isWhole(Path picture) {
    try {
      return Images.read(picture).getWidth() == 32;
    } catch (IOException e) {
      return false;
    }
  }

  private String log() throws IOException {
    return Files.readString(folder.resolve("log"));
  }

  private Process accelerate(Path run) throws IOException {
    return perflow(
        "accelerate",
        "--teacher=../models/emoji-64",
        "--data=../data/emoji-64/test.tar",
        "--out=" + run,
        "--steps=100000",
        "--batch=4",
        "--solving-steps=1");
  }

  private Process perflow(String... args) throws IOException {
    return Processes.perflow(folder.resolve("log"), Map.of(), args);
  }
}
