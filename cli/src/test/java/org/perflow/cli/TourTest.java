package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.Dependency;
import com.tngtech.archunit.core.domain.JavaClass;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/**
 * The diagrams of docs/tour.md are made from the code. To bring them up to date: {@code mvn -pl cli
 * -am test -Dtest=TourTest -Dsurefire.failIfNoSpecifiedTests=false -Dperflow.updateHelp}.
 */
class TourTest {
  private static final Path TOUR = Path.of("..", "docs", "tour.md");

  /** What a reader meets first, from caption to picture and from teacher to student. */
  private static final List<String> MAIN_PATH =
      List.of(
          "pipeline.Pipeline",
          "pipeline.Request",
          "models.DiffusionModel",
          "flow.sampler.Scheduler",
          "flow.Denoiser",
          "flow.Conditioning",
          "flow.PiecewiseFlow",
          "flow.PfOdeSolver",
          "accelerate.Accelerator",
          "distill.StudentRun",
          "distill.Method",
          "distill.Task",
          "distill.Net",
          "distill.perflow.PerflowMethod",
          "distill.perflow.PerflowObjective",
          "train.Objective",
          "train.Examples",
          "train.Trainer",
          "delta.Delta",
          "evaluate.Evaluator",
          "evaluate.Evaluation",
          "evaluate.SampledModel",
          "evaluate.Evaluated",
          "report.EvaluationReport");

  @Test
  void diagramsAreOfTheCode() throws IOException {
    String tour = Files.readString(TOUR);
    String expected = with(with(tour, "rooms", rooms()), "main path", mainPath());
    if (System.getProperty("perflow.updateHelp") != null) {
      Files.writeString(TOUR, expected);
      tour = expected;
    }
    assertThat(tour).isEqualTo(expected);
  }

  /** {@code page} with the diagram of that name in place of the one it has. */
  private static String with(String page, String name, String diagram) {
    String begin = "<!-- " + name + ": made from the code by TourTest -->\n";
    String end = "<!-- end of " + name + " -->";
    int from = page.indexOf(begin);
    int to = page.indexOf(end);
    assertThat(from).as(begin).isNotNegative();
    assertThat(to).as(end).isGreaterThan(from);
    return page.substring(0, from + begin.length())
        + "```mermaid\n"
        + diagram
        + "```\n"
        + page.substring(to);
  }

  /** Packages in their modules; an arrow is "uses", left out where another way says it already. */
  private static String rooms() {
    Map<String, Set<String>> uses = new TreeMap<>();
    for (JavaClass each : ArchitectureTest.CLASSES) {
      String from = each.getPackageName();
      Set<String> targets = uses.computeIfAbsent(from, any -> new TreeSet<>());
      for (Dependency dependency : each.getDirectDependenciesFromSelf()) {
        String to = dependency.getTargetClass().getBaseComponentType().getPackageName();
        if (to.startsWith("org.perflow.") && !to.equals(from)) {
          targets.add(to);
        }
      }
    }
    StringBuilder text = new StringBuilder("flowchart TD\n");
    ArchitectureTest.MODULES.forEach(
        (module, patterns) -> {
          text.append("  subgraph module_%s[\"module %s\"]%n".formatted(module, module));
          uses.keySet().stream()
              .filter(name -> patterns.stream().anyMatch(pattern -> isIn(name, pattern)))
              .forEach(name -> text.append("    %s[%s]%n".formatted(id(name), shortName(name))));
          text.append("  end\n");
        });
    appendArrows(text, uses, "  %s --> %s%n");
    return text.toString();
  }

  private static boolean isIn(String name, String pattern) {
    String root = pattern.replace("..", "");
    return name.equals(root) || name.startsWith(root + ".");
  }

  private static String mainPath() {
    Set<String> shown =
        MAIN_PATH.stream()
            .map("org.perflow."::concat)
            .collect(Collectors.toCollection(TreeSet::new));
    Map<String, Set<String>> uses = new TreeMap<>();
    StringBuilder kinds = new StringBuilder();
    for (JavaClass each : ArchitectureTest.CLASSES) {
      String from = ArchitectureTest.file(each);
      if (!shown.contains(from)) {
        continue;
      }
      Set<String> targets = uses.computeIfAbsent(from, any -> new TreeSet<>());
      for (Dependency dependency : each.getDirectDependenciesFromSelf()) {
        String to = ArchitectureTest.file(dependency.getTargetClass().getBaseComponentType());
        if (shown.contains(to) && !to.equals(from)) {
          targets.add(to);
        }
      }
      if (each.getName().equals(from)) {
        each.getRawInterfaces().stream()
            .map(JavaClass::getName)
            .filter(shown::contains)
            .forEach(type -> kinds.append("  %s <|.. %s%n".formatted(simple(type), simple(from))));
      }
    }
    assertThat(uses.keySet()).isEqualTo(shown);
    for (JavaClass each : ArchitectureTest.CLASSES) {
      each.getRawInterfaces().stream()
          .map(JavaClass::getName)
          .filter(type -> shown.contains(type) && shown.contains(each.getName()))
          .forEach(type -> uses.get(each.getName()).remove(type));
    }
    StringBuilder text = new StringBuilder("classDiagram\n  direction TB\n");
    shown.forEach(name -> text.append("  class %s%n".formatted(simple(name))));
    text.append(kinds);
    StringBuilder arrows = new StringBuilder();
    for (var each : reduced(uses).entrySet()) {
      each.getValue()
          .forEach(
              to -> arrows.append("  %s --> %s%n".formatted(simple(each.getKey()), simple(to))));
    }
    return text.append(arrows).toString();
  }

  private static void appendArrows(
      StringBuilder text, Map<String, Set<String>> uses, String format) {
    reduced(uses)
        .forEach((from, all) -> all.forEach(to -> text.append(format.formatted(id(from), id(to)))));
  }

  /** Without the arrows that a longer way says already. */
  private static Map<String, Set<String>> reduced(Map<String, Set<String>> uses) {
    Map<String, Set<String>> reduced = new TreeMap<>();
    uses.forEach(
        (from, all) -> {
          Set<String> kept = new TreeSet<>(all);
          for (String near : all) {
            Set<String> beyond = ArchitectureTest.reachable(near, uses);
            beyond.remove(near);
            kept.removeAll(beyond);
          }
          reduced.put(from, kept);
        });
    return reduced;
  }

  private static String shortName(String name) {
    return name.replace("org.perflow.", "");
  }

  private static String id(String name) {
    return shortName(name).replace('.', '_');
  }

  private static String simple(String name) {
    return name.substring(name.lastIndexOf('.') + 1);
  }
}
