package org.perflow.cli;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** tensor <- io <- models <- flow <- train <- cli, and libtorch behind tensor alone. */
class ArchitectureTest {
  /** The packages of each module, from the bottom up. */
  private static final List<String[]> MODULES =
      List.of(
          new String[] {"org.perflow.tensor.."},
          new String[] {"org.perflow.io.."},
          new String[] {"org.perflow.models.."},
          new String[] {"org.perflow.flow..", "org.perflow.pipeline.."},
          new String[] {
            "org.perflow.train..",
            "org.perflow.delta..",
            "org.perflow.distill..",
            "org.perflow.accelerate..",
            "org.perflow.evaluate..",
            "org.perflow.report..",
            "org.perflow.compare.."
          },
          new String[] {"org.perflow.cli.."});

  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("org.perflow");

  @Test
  void modulesNeedOnlyThoseBelowThem() {
    for (int lower = 0; lower < MODULES.size(); lower++) {
      String[] above =
          MODULES.subList(lower + 1, MODULES.size()).stream()
              .flatMap(Arrays::stream)
              .toArray(String[]::new);
      if (above.length > 0) {
        noClasses()
            .that()
            .resideInAnyPackage(MODULES.get(lower))
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage(above)
            .check(CLASSES);
      }
    }
  }

  @Test
  void everyClassIsInAKnownModule() {
    noClasses()
        .should()
        .resideOutsideOfPackages(MODULES.stream().flatMap(Arrays::stream).toArray(String[]::new))
        .check(CLASSES);
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
}
