package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What docs/serving.md says, as it stands there, of a running server. */
class ServingDocsTest {
  @TempDir Path folder;

  @Test
  void curlExamplesRun() throws Exception {
    assumeTrue(Serving.program("curl").isPresent(), "there is no curl on the PATH");
    try (Serving serving = Serving.start()) {
      int examples = 0;
      for (String example : examples()) {
        examples++;
        String command = example.replace(":7860", ":" + serving.server.port());
        Process process =
            new ProcessBuilder("bash", "-euc", command)
                .directory(folder.toFile())
                .redirectErrorStream(true)
                .start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(said).isZero();
        assertThat(said).as(command).isNotEmpty().doesNotContain("\"error\": {");
      }
      assertThat(examples).isEqualTo(5);
      assertThat(folder.resolve("events.txt")).content().contains("\"state\":\"done\"");
      assertThat(Files.readAllBytes(folder.resolve("apple.webp")))
          .startsWith("RIFF".getBytes(StandardCharsets.UTF_8));
    }
  }

  @Test
  void metricsAreNamedInTheDocs() throws Exception {
    String page = Files.readString(Path.of("..", "docs", "serving.md"));
    try (Serving serving = Serving.start()) {
      serving.post("/v1/images/generations", "{'prompt':'sun'}");
      List<String> scraped =
          serving
              .get("/metrics")
              .body()
              .lines()
              .filter(line -> line.startsWith("# TYPE perflow_") || line.startsWith("# TYPE http_"))
              .map(line -> line.split(" ")[2])
              .filter(name -> !name.endsWith("_max"))
              .toList();
      assertThat(scraped)
          .contains("perflow_wait_seconds", "perflow_draw_seconds", "perflow_steps_total")
          .allSatisfy(name -> assertThat(page).contains("`" + name + "`"));
      assertThat(serving.get("/healthz").body()).isEqualTo("ok\n");
      assertThat(Serving.json(serving.get("/readyz")).path("ready").asBoolean()).isTrue();
    }
  }

  /** Blocks of indented lines in which curl is called. */
  private static List<String> examples() throws Exception {
    List<String> examples = new ArrayList<>();
    StringBuilder block = new StringBuilder();
    for (String line : Files.readAllLines(Path.of("..", "docs", "serving.md"))) {
      if (line.startsWith("    ")) {
        block.append(line.substring(4)).append('\n');
      } else {
        if (block.toString().contains("curl ")) {
          examples.add(block.toString());
        }
        block.setLength(0);
      }
    }
    return examples;
  }
}
