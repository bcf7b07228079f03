package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Where nothing can be written is said before any work: here even before models are looked for. */
class OutputsTest {
  @TempDir Path folder;
  private Path file;

  @BeforeEach
  void setUp() throws IOException {
    file = Files.writeString(folder.resolve("file"), "x");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "generate --model none --prompt x --out FILE/a.png",
        "generate --model none --prompt x --save-latents FILE/a.safetensors",
        "refine --model none --controlnet none --prompt x --out FILE/a.png",
        "evaluate --model none --out FILE",
        "evaluate --model none --out FILE/e",
        "evaluate --model none --out OUT --cache FILE/c",
        "accelerate --teacher none --data none --out FILE",
        "pretrain --like none --data none --out FILE/run",
        "compare none.yaml --out FILE",
        "demo --out FILE",
        "trajectories --out FILE/t",
        "delta extract --base none --student none --out FILE/d.safetensors",
        "convert none FILE/model.safetensors",
        "data inspect none.tar --sheet FILE/sheet.png",
        "data emoji --out FILE/emoji"
      })
  void aFolderThatCannotBeIsNamedAtOnce(String line) {
    String out = folder.resolve("out").toString();
    String[] args =
        Arrays.stream(line.split(" "))
            .map(arg -> arg.replace("FILE", file.toString()).replace("OUT", out))
            .toArray(String[]::new);
    Commands result = Commands.run(args);
    assertThat(result.err()).contains(file + ": is a file, not a folder").hasLineCount(1);
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(folder.resolve("out")).doesNotExist();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "generate --model none --prompt x --out FOLDER",
        "refine --model none --controlnet none --prompt x --out FOLDER",
        "delta extract --base none --student none --out FOLDER",
        "data inspect none.tar --sheet FOLDER"
      })
  void aFolderInThePlaceOfAFileIsNamedAtOnce(String line) {
    Commands result = Commands.run(line.replace("FOLDER", folder.toString()).split(" "));
    assertThat(result.err()).contains(folder + ": is a folder; name a file").hasLineCount(1);
    assertThat(result.exitCode()).isEqualTo(2);
  }

  /** A home that is read-only, as in containers: here a file is in the place of its cache. */
  @Test
  void aDefaultCacheThatCannotBeWrittenIsToldBeforeAnyWork() throws Exception {
    Path log = folder.resolve("log");
    Process process =
        Processes.perflow(
            log,
            Map.of("XDG_CACHE_HOME", file.toString()),
            "evaluate",
            "--model=no-such-model",
            "--out=" + folder.resolve("e"));
    assertThat(process.waitFor()).isEqualTo(2);
    assertThat(Files.readAllLines(log))
        .hasSize(2)
        .startsWith("nothing is kept for the next time: " + file + ": is a file, not a folder")
        .anyMatch(line -> line.startsWith("perflow evaluate: "));
  }

  @Test
  void aShardWithoutPicturesHasNoSheet() {
    Path empty = Path.of("../io/src/test/resources/shards/empty.tar");
    Path sheet = folder.resolve("sheet.png");
    Commands result =
        Commands.run("data", "inspect", empty.toString(), "--sheet", sheet.toString());
    assertThat(result.exitCode()).isZero();
    assertThat(result.out()).contains("empty.tar: 0 pictures");
    assertThat(result.err()).contains("no pictures in", "empty.tar", "is not written");
    assertThat(sheet).doesNotExist();
  }
}
