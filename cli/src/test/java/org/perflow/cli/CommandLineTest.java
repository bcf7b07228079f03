package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

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
}
