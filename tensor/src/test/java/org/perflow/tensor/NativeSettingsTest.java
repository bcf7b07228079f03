package org.perflow.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** A plain Java application: no launcher, no flags, a small heap. */
class NativeSettingsTest {
  /** Ten heaps of native memory, as a model of its published size takes. */
  static final class Application {
    public static void main(String[] args) {
      try (Scope scope = Scope.open()) {
        Tensor large = Tensor.zeros(DType.F32, 160 << 20);
        System.out.println("sum " + large.sum().item());
      }
    }
  }

  private static String run(Map<String, String> environment) throws Exception {
    ProcessBuilder builder =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx64m",
                "-cp",
                System.getProperty("java.class.path"),
                Application.class.getName())
            .redirectErrorStream(true);
    builder.environment().remove("OMP_WAIT_POLICY");
    builder.environment().put("OMP_DISPLAY_ENV", "true"); // OpenMP says what it has read
    builder.environment().putAll(environment);
    Process process = builder.start();
    String printed = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(printed).isZero();
    return printed;
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void aSmallHeapIsNoLimitAndOpenMpSleeps() throws Exception {
    assertThat(run(Map.of())).contains("sum 0.0").contains("OMP_WAIT_POLICY = 'PASSIVE'");
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void whatTheUserHasSetStays() throws Exception {
    assertThat(run(Map.of("OMP_WAIT_POLICY", "ACTIVE"))).contains("OMP_WAIT_POLICY = 'ACTIVE'");
  }
}
