package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The script at the root, as a process. */
@Tag("slow")
class LauncherTest {
  @TempDir Path folder;

  @Test
  void runsThroughALinkFromAnotherFolder() throws Exception {
    Path launcher = Path.of("..", "perflow").toRealPath();
    run(Map.of(), launcher.toString(), "--version"); // builds it where it has to
    Path link = Files.createSymbolicLink(folder.resolve("link"), launcher);
    assertThat(run(Map.of(), link.toString(), "--version")).startsWith("0 perflow ");
    assertThat(run(Map.of(), link.toString(), "data", "inspect", "a b.tar"))
        .startsWith("2 ")
        .contains("a b.tar");
  }

  @Test
  void saysWhichJdkItNeeds() throws Exception {
    String launcher = Path.of("..", "perflow").toRealPath().toString();
    assertThat(run(Map.of("JAVA_HOME", folder.toString()), launcher, "--version"))
        .startsWith("1 ")
        .contains("JAVA_HOME is " + folder, "17 or newer");
  }

  /** Exit code, a space, and what it printed. */
  private String run(Map<String, String> environment, String... command)
      throws IOException, InterruptedException {
    ProcessBuilder builder = new ProcessBuilder(List.of(command));
    builder.environment().putAll(environment);
    Process process = builder.directory(folder.toFile()).redirectErrorStream(true).start();
    String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return process.waitFor() + " " + text;
  }
}
