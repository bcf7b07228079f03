package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Every Java example of the README and the docs, compiled and run; trainings for one step only. */
class DocsExamplesTest {
  private static final Pattern BLOCK = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);
  private static final String IMPORTS =
      Stream.of(
              "java.awt.image.BufferedImage",
              "java.nio.file.*",
              "java.util.*",
              "org.perflow.accelerate.*",
              "org.perflow.delta.*",
              "org.perflow.flow.*",
              "org.perflow.hub.*",
              "org.perflow.pipeline.*",
              "org.perflow.io.*",
              "org.perflow.models.*",
              "org.perflow.serve.http.*",
              "org.perflow.tensor.*",
              "org.perflow.train.*")
          .map("import %s;%n"::formatted)
          .reduce("", String::concat);

  @TempDir Path folder;

  @Test
  void compileAndRun() throws Exception {
    Path root = Path.of("..").toRealPath();
    List<Path> pages = new ArrayList<>(List.of(root.resolve("README.md")));
    try (Stream<Path> docs = Files.list(root.resolve("docs"))) {
      docs.filter(page -> page.toString().endsWith(".md")).sorted().forEach(pages::add);
    }
    StringBuilder source = new StringBuilder(IMPORTS + "final class Examples {\n");
    StringBuilder calls = new StringBuilder();
    int examples = 0;
    for (Path page : pages) {
      Matcher block = BLOCK.matcher(Files.readString(page));
      while (block.find()) {
        examples++;
        source.append("  static void example%d() throws Exception {".formatted(examples));
        String shorter = block.group(1).replace("withSteps(2000)", "withSteps(1)");
        source.append(" // %s%n%s  }%n".formatted(page.getFileName(), shorter));
        calls.append("    example%d();%n".formatted(examples));
      }
    }
    assertThat(examples).isGreaterThanOrEqualTo(3);
    source.append("  public static void main(String[] args) throws Exception {\n");
    source.append(calls).append("  }\n}\n");
    JavaSource.compile(folder, List.of(Files.writeString(folder.resolve("Examples.java"), source)));
    modelsOfTheExamples(root);
    run();
  }

  /** What the pages call by names of a user's own, small. */
  private void modelsOfTheExamples(Path root) throws IOException {
    Path golden = root.resolve("models/src/test/resources/golden/models");
    Files.createSymbolicLink(folder.resolve("models"), root.resolve("models"));
    Files.createSymbolicLink(folder.resolve("data"), root.resolve("data"));
    Files.createSymbolicLink(folder.resolve("sd15"), golden.resolve("sd15"));
    Path hub = Files.createDirectories(folder.resolve("stabilityai")); // a path comes first
    Files.createSymbolicLink(hub.resolve("sdxl-turbo"), golden.resolve("sd15"));
    Files.createSymbolicLink(folder.resolve("my-finetune"), root.resolve("models/emoji-64"));
    String[] extract = {
      "delta",
      "extract",
      "--base",
      root.resolve("models/emoji-64").toString(),
      "--student",
      root.resolve("models/emoji-64-perflow").toString(),
      "--out",
      folder.resolve("delta.safetensors").toString()
    };
    assertThat(Commands.run(extract).exitCode()).isZero();
  }

  private void run() throws Exception {
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx1g",
                "-Djava.awt.headless=true",
                "-cp",
                folder
                    + System.getProperty("path.separator")
                    + System.getProperty("java.class.path"),
                "Examples")
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .start();
    String printed = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(printed).isZero();
    assertThat(folder.resolve("apple.png")).isNotEmptyFile();
    assertThat(folder.resolve("runs/first/student/delta.safetensors")).isNotEmptyFile();
    assertThat(folder.resolve("my-fast-model/model_index.json")).isNotEmptyFile();
  }
}
