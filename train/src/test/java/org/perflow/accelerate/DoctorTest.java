package org.perflow.accelerate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;
import org.perflow.tensor.Compute;
import org.perflow.tensor.Device;

class DoctorTest {
  @TempDir Path temp;

  @Test
  void saysWhatTheSystemSaysAndWhatIsUsed() throws IOException {
    Doctor found = Doctor.look();
    Map<String, String> processor = found.sections().get("processor");
    Path cpus = Path.of("/proc/cpuinfo");
    if (Files.exists(cpus)) {
      String said = Files.readString(cpus);
      boolean avx2 = said.contains(" avx2");
      assertThat(processor.get("instruction sets").contains("AVX2")).isEqualTo(avx2);
      assertThat(said.contains(processor.get("name")) || !said.contains("model name")).isTrue();
    }
    assertThat(processor.get("threads used")).isEqualTo(Integer.toString(Device.threads()));
    assertThat(found.sections().get("computing").get("type"))
        .contains(Compute.AUTO.settled().torchName());
    assertThat(found.sections().get("libraries").get("libtorch")).matches("\\d+\\.\\d+\\..*");
    assertThat(found.text()).contains("oneDNN").doesNotContain("not said by the system");
    assertThat(Json.MAPPER.valueToTree(found).at("/sections/memory/machine").asText())
        .endsWith("GB");
  }

  @Test
  void namesACacheThatCannotBeMade() throws IOException {
    assumeThat(System.getenv("XDG_CACHE_HOME")).isNullOrEmpty();
    Path file = Files.createFile(temp.resolve("file"));
    String home = System.getProperty("user.home");
    System.setProperty("user.home", file.toString());
    try {
      assertThat(Doctor.look().advice())
          .anySatisfy(advice -> assertThat(advice).contains(file.toString(), "cannot be written"));
    } finally {
      System.setProperty("user.home", home);
    }
  }
}
