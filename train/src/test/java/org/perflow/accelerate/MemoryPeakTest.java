package org.perflow.accelerate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The plan of memory against what a process came to: the teacher that comes with perflow, a LoRA.
 */
@Tag("slow")
@Timeout(900)
class MemoryPeakTest {
  @TempDir private Path temp;

  @ParameterizedTest
  @ValueSource(strings = {"32", "128", "lora"})
  void theEstimateIsNearThePeak(String training) throws Exception {
    assumeThat(Path.of("/proc/self/status")).exists();
    Path log = temp.resolve("log");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx1g",
                "-Djava.awt.headless=true",
                "-cp",
                System.getProperty("java.class.path"),
                PeakProgram.class.getName(),
                temp.resolve("run").toString(),
                training)
            .redirectError(log.toFile())
            .start();
    String printed = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(Files.readString(log)).isZero();
    String[] numbers = printed.strip().split(" ");
    double planned = Double.parseDouble(numbers[0]);
    double peak = Double.parseDouble(numbers[1]);
    System.out.printf("%s: planned %.3g, peak %.3g%n", training, planned, peak);
    assertThat(planned / peak).isBetween(0.85, 1.15);
  }
}
