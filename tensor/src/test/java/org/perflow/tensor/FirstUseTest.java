package org.perflow.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Several JVMs that start side by side where libtorch was never unpacked. */
@Tag("slow")
class FirstUseTest {
  @TempDir Path cache;

  /** What each of them does. */
  static final class First {
    public static void main(String[] args) {
      try (NoGrad guard = NoGrad.enter();
          Scope scope = Scope.open()) {
        System.out.println(Tensor.of(new float[] {1, 2}, 2).sum().item());
      }
    }
  }

  @Test
  void oneUnpacksAndTheOthersWait() throws Exception {
    List<Process> processes = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      processes.add(
          new ProcessBuilder(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "-Dorg.bytedeco.javacpp.cachedir=" + cache,
                  "-cp",
                  System.getProperty("java.class.path"),
                  First.class.getName())
              .directory(cache.toFile())
              .redirectErrorStream(true)
              .start());
    }
    for (Process process : processes) {
      byte[] printed = process.getInputStream().readAllBytes();
      assertThat(new String(printed, StandardCharsets.UTF_8)).endsWith("3.0\n");
      assertThat(process.waitFor()).isZero();
    }
  }
}
