package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The page in headless Chromium, driven by {@code src/test/page/page.mjs} with Playwright, which
 * npm fetches. Pictures of it are in {@code target/page}.
 */
@Tag("slow")
class PageTest {
  @TempDir Path folder;

  @Test
  void doesWhatAPersonAsks() throws Exception {
    Optional<Path> chromium =
        Serving.program("chromium", "chromium-browser", "google-chrome", "google-chrome-stable");
    assumeTrue(chromium.isPresent(), "there is no Chromium on the PATH");
    assumeTrue(Serving.program("node").isPresent(), "there is no node on the PATH");
    assumeTrue(Serving.program("npm").isPresent(), "there is no npm on the PATH");
    for (String file : List.of("package.json", "page.mjs")) {
      Files.copy(Path.of("src/test/page", file), folder.resolve(file));
    }
    Process install = start("npm", "install", "--no-audit", "--no-fund");
    String fetched = output(install);
    assumeTrue(install.waitFor() == 0, "npm cannot fetch Playwright: " + fetched);
    Path pictures = Files.createDirectories(Path.of("target/page").toAbsolutePath());
    try (Serving serving = Serving.start()) {
      Process page =
          start(
              "node",
              "page.mjs",
              serving.server.url(),
              chromium.get().toString(),
              pictures.toString());
      assertThat(output(page)).contains("page ok");
    }
  }

  private Process start(String... command) throws Exception {
    return new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true).start();
  }

  private static String output(Process process) throws Exception {
    return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
  }
}
