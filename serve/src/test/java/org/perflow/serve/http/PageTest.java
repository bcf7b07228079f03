package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The page in headless Chromium, driven by {@code src/test/page/page.mjs}; wants node, npm and
 * Chromium. Pictures of it are in {@code target/page}.
 */
@Tag("slow")
class PageTest {
  private static final Path CHROMIUM = Path.of("/usr/bin/chromium");

  @TempDir Path folder;

  @Test
  void doesWhatAPersonAsks() throws Exception {
    assumeTrue(Files.isExecutable(CHROMIUM), "no Chromium");
    assumeTrue(Files.isExecutable(Path.of("/usr/bin/npm")), "no npm");
    for (String file : List.of("package.json", "page.mjs")) {
      Files.copy(Path.of("src/test/page", file), folder.resolve(file));
    }
    Path pictures = Files.createDirectories(Path.of("target/page").toAbsolutePath());
    try (Serving serving = Serving.start()) {
      run("npm", "install", "--no-audit", "--no-fund");
      String said =
          run("node", "page.mjs", serving.server.url(), CHROMIUM.toString(), pictures.toString());
      assertThat(said).contains("page ok");
    }
  }

  private String run(String... command) throws Exception {
    Process process =
        new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(said).isZero();
    return said;
  }
}
