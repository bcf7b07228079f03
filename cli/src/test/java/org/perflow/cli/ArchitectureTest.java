package org.perflow.cli;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.Dependency;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.perflow.train.Progress;
import picocli.CommandLine.Command;

/**
 * The rooms of the house: modules from the bottom up, no circle between packages or between the
 * files of one, libtorch behind {@code tensor} alone, commands that only parse and print.
 */
class ArchitectureTest {
  /** The packages of each module, from the bottom up. */
  static final Map<String, List<String>> MODULES = modules();

  private static final int MOST_FILES = 30;

  /**
   * A tensor, the scope that owns it and the generator that fills it are one thing in three files.
   */
  private static final Set<String> TENSOR =
      Set.of("org.perflow.tensor.Tensor", "org.perflow.tensor.Scope", "org.perflow.tensor.Rng");

  private static final Set<String> NAMED =
      Set.of(
          "org.perflow.tensor.DType",
          "org.perflow.tensor.Device",
          "org.perflow.tensor.Compute",
          "org.perflow.tensor.optim.Moments");

  static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("org.perflow");

  private static Map<String, List<String>> modules() {
    Map<String, List<String>> modules = new LinkedHashMap<>();
    modules.put("tensor", List.of("org.perflow.tensor.."));
    modules.put("io", List.of("org.perflow.io..", "org.perflow.hub.."));
    modules.put("models", List.of("org.perflow.models.."));
    modules.put("flow", List.of("org.perflow.flow..", "org.perflow.pipeline.."));
    modules.put(
        "train",
        List.of(
            "org.perflow.delta..",
            "org.perflow.train..",
            "org.perflow.pretrain..",
            "org.perflow.distill..",
            "org.perflow.accelerate..",
            "org.perflow.evaluate..",
            "org.perflow.report..",
            "org.perflow.compare..",
            "org.perflow.data..",
            "org.perflow.importing..",
            "org.perflow.memory.."));
    modules.put("serve", List.of("org.perflow.serve.."));
    modules.put("cli", List.of("org.perflow.cli.."));
    return modules;
  }

  private static String[] packages(List<List<String>> modules) {
    return modules.stream().flatMap(List::stream).toArray(String[]::new);
  }

  @Test
  void modulesNeedOnlyThoseBelowThem() {
    List<List<String>> all = List.copyOf(MODULES.values());
    for (int lower = 0; lower + 1 < all.size(); lower++) {
      noClasses()
          .that()
          .resideInAnyPackage(all.get(lower).toArray(String[]::new))
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(packages(all.subList(lower + 1, all.size())))
          .check(CLASSES);
    }
  }

  @Test
  void everyClassIsInAKnownModule() {
    noClasses()
        .should()
        .resideOutsideOfPackages(packages(List.copyOf(MODULES.values())))
        .check(CLASSES);
  }

  @Test
  void noCircleBetweenPackages() {
    slices().matching("org.perflow.(**)").should().beFreeOfCycles().check(CLASSES);
  }

  /**
   * Two files are in a circle where each leads to the other, by whatever way within their package.
   */
  @Test
  void noCircleBetweenFiles() {
    Map<String, Set<String>> uses = uses();
    Map<String, Set<String>> leadsTo = new TreeMap<>();
    uses.keySet().forEach(file -> leadsTo.put(file, reachable(file, uses)));
    Set<String> circles = new TreeSet<>();
    leadsTo.forEach(
        (file, others) ->
            others.stream()
                .filter(other -> leadsTo.getOrDefault(other, Set.of()).contains(file))
                .forEach(other -> circles.add(file + " <-> " + other)));
    assertThat(circles).isEmpty();
  }

  /**
   * Which file uses which, in one package. A command and its subcommands name each other: picocli's
   * trees are made that way.
   */
  private static Map<String, Set<String>> uses() {
    Map<String, Set<String>> uses = new TreeMap<>();
    for (JavaClass each : CLASSES) {
      for (Dependency dependency : each.getDirectDependenciesFromSelf()) {
        JavaClass target = dependency.getTargetClass().getBaseComponentType();
        boolean near = target.getPackageName().equals(each.getPackageName());
        boolean commands =
            each.isAnnotatedWith(Command.class) && target.isAnnotatedWith(Command.class);
        boolean tensors = TENSOR.contains(file(each)) && TENSOR.contains(file(target));
        boolean generated = isGenerated(each) || isGenerated(target);
        if (near && !commands && !tensors && !generated && !file(each).equals(file(target))) {
          uses.computeIfAbsent(file(each), any -> new TreeSet<>()).add(file(target));
        }
      }
    }
    return uses;
  }

  static Set<String> reachable(String from, Map<String, Set<String>> uses) {
    Set<String> reached = new TreeSet<>();
    Deque<String> open = new ArrayDeque<>(uses.getOrDefault(from, Set.of()));
    while (!open.isEmpty()) {
      String next = open.pop();
      if (reached.add(next)) {
        open.addAll(uses.getOrDefault(next, Set.of()));
      }
    }
    reached.remove(from);
    return reached;
  }

  @Test
  void noPackageIsTooLargeToKnow() {
    Map<String, Set<String>> files = new TreeMap<>();
    for (JavaClass each : CLASSES) {
      if (!isGenerated(each) && !each.getSimpleName().equals("package-info")) {
        files.computeIfAbsent(each.getPackageName(), any -> new TreeSet<>()).add(file(each));
      }
    }
    assertThat(files).hasSizeGreaterThan(15);
    files.forEach((name, in) -> assertThat(in).as(name).hasSizeLessThanOrEqualTo(MOST_FILES));
  }

  @Test
  void onlyTensorTouchesLibtorch() {
    noClasses()
        .that()
        .resideOutsideOfPackage("org.perflow.tensor..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("org.bytedeco..")
        .check(CLASSES);
  }

  /**
   * Types and devices are named on the command line; what is done with tensors is the library's.
   */
  @Test
  void commandsComputeNothing() {
    noClasses()
        .that()
        .resideInAPackage("org.perflow.cli..")
        .should()
        .callMethodWhere(
            describe(
                "tensors, or what works on them, are asked for anything",
                call ->
                    call.getTargetOwner().getPackageName().startsWith("org.perflow.tensor")
                        && !NAMED.contains(file(call.getTargetOwner()))))
        .check(CLASSES);
  }

  /** The outermost class. */
  static String file(JavaClass each) {
    return each.getEnclosingClass().map(ArchitectureTest::file).orElse(each.getName());
  }

  private static boolean isGenerated(JavaClass each) {
    return Arrays.stream(file(each).split("\\.")).anyMatch(part -> part.endsWith("Builder"));
  }

  /** Since Java 22 there is a console without a terminal, too: one class knows how to tell. */
  @Test
  void onlyOneClassAsksForTheConsole() {
    noClasses()
        .that()
        .doNotHaveFullyQualifiedName(Progress.class.getName())
        .should()
        .callMethod(System.class, "console")
        .check(CLASSES);
  }
}
