package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Every example in Javadoc compiles, and every front door has one. */
class JavadocExamplesTest {
  private static final Pattern EXAMPLE =
      Pattern.compile("<pre>\\{@code\\s*\\R(.*?)\\R\\s*\\* \\}</pre>", Pattern.DOTALL);

  private static final Set<String> FRONT_DOORS =
      Set.of(
          "Accelerator",
          "Benchmark",
          "Comparison",
          "DataImport",
          "Delta",
          "DeltaFolder",
          "DeltaLora",
          "Demo",
          "Doctor",
          "EmojiDataset",
          "Evaluation",
          "EvaluationReport",
          "Evaluator",
          "FashionMnist",
          "Hub",
          "Inspection",
          "ModelConversion",
          "PictureServer",
          "Pipeline",
          "Pretraining",
          "Request",
          "SolverErrors",
          "Trainer",
          "Trajectories");

  /** What an example takes as given, by the file that it stands in. */
  private static final Map<String, String> GIVEN =
      Map.of(
          "Evaluation",
          "org.perflow.models.DiffusionModel teacher; org.perflow.models.DiffusionModel student;"
              + " Features features; List<String> captions;",
          "EvaluationReport",
          "org.perflow.evaluate.Evaluated evaluated;",
          "Trainer",
          "Objective objective; TrainOptions options; Path folder;"
              + " void save(Objective trained) throws IOException {}",
          "Tape",
          "org.perflow.tensor.nn.Linear model; Tensor x; Tensor loss(Tensor y) { return y.mean();"
              + " }",
          "AppliedEmbeddings",
          "Path folder;");

  private static final String IMPORTS =
      Stream.of(
              "java.awt.image.BufferedImage",
              "java.io.*",
              "java.nio.file.*",
              "java.time.Duration",
              "java.util.*",
              "java.util.concurrent.atomic.*",
              "javax.imageio.ImageIO",
              "org.perflow.accelerate.*",
              "org.perflow.distill.perflow.*",
              "org.perflow.evaluate.*",
              "org.perflow.io.*",
              "org.perflow.pipeline.*",
              "org.perflow.pretrain.*",
              "org.perflow.report.*",
              "org.perflow.serve.http.*",
              "org.perflow.tensor.DType",
              "org.perflow.train.*")
          .map("import %s;%n"::formatted)
          .collect(Collectors.joining());

  @TempDir Path folder;

  @Test
  void compile() throws IOException {
    Set<String> shown = new TreeSet<>();
    List<Path> sources = new ArrayList<>();
    for (Path file : classes()) {
      String name = file.getFileName().toString().replace(".java", "");
      Matcher example = EXAMPLE.matcher(Files.readString(file));
      for (int number = 1; example.find(); number++) {
        shown.add(name);
        sources.add(source(name, number, file, example.group(1)));
      }
    }
    assertThat(shown).containsAll(FRONT_DOORS);
    JavaSource.compile(folder, sources);
  }

  private static List<Path> classes() throws IOException {
    List<Path> classes = new ArrayList<>();
    for (String module : List.of("tensor", "io", "models", "flow", "train", "serve")) {
      try (Stream<Path> files = Files.walk(Path.of("..", module, "src/main/java"))) {
        files
            .filter(file -> file.toString().endsWith(".java"))
            .filter(file -> !file.endsWith("package-info.java"))
            .sorted()
            .forEach(classes::add);
      }
    }
    return classes;
  }

  /**
   * The example in a method of a class that stands where its file does and imports what that does.
   */
  private Path source(String name, int number, Path file, String javadoc) throws IOException {
    String text = Files.readString(file);
    String code = javadoc.replaceAll("(?m)^\\s*\\* ?", "");
    String itsPackage = text.replaceAll("(?s).*?\\bpackage ([\\w.]+);.*", "$1");
    String imports =
        text.lines()
            .filter(line -> line.matches("import (org.perflow|java).*") && !IMPORTS.contains(line))
            .collect(Collectors.joining("\n"));
    String type = "Example%dOf%s".formatted(number, name);
    Path target = folder.resolve(itsPackage.replace('.', '/')).resolve(type + ".java");
    Files.createDirectories(target.getParent());
    return Files.writeString(
        target,
        "package %s;%n%s%n%sfinal class %s {%n  %s%n  void run() throws Exception {%n%s%n  }%n}%n"
            .formatted(itsPackage, IMPORTS, imports, type, GIVEN.getOrDefault(name, ""), code));
  }
}
