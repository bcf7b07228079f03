package org.perflow.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.compare.TinyTeacher;
import org.perflow.evaluate.Evaluated;
import org.perflow.evaluate.Evaluator;
import org.perflow.evaluate.EvaluatorOptions;
import org.perflow.evaluate.Measurement;
import org.perflow.tensor.Device;
import org.perflow.tensor.Scope;

/** The front door to measuring, from folders to a folder. */
class EvaluatorTest {
  private static final Path FEATURES = Path.of("../models/emoji-features");
  private static final EvaluatorOptions OPTIONS =
      EvaluatorOptions.DEFAULTS.with(
          few ->
              few.pictures(6)
                  .teacherSteps(List.of(3, 2))
                  .guidance(1.0)
                  .straightPictures(1)
                  .resamples(2));

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  @Test
  void aFolderIsDrawnWithByItsOwnSamplerUnlessAnotherIsAskedFor(@TempDir Path temp)
      throws IOException {
    Path model = TinyTeacher.in(temp.resolve("tiny"), "EulerDiscreteScheduler");
    Evaluator evaluator =
        Evaluator.on(FEATURES)
            .model(model)
            .model(model, "ddim")
            .model(model, "dpmpp-2m-karras")
            .data(TinyTeacher.data(temp.resolve("data")))
            .options(OPTIONS);
    List<String> progress = new ArrayList<>();
    long before = Scope.liveObjects();
    Evaluated evaluated = evaluator.run(progress::add);
    assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);

    assertThat(evaluated.rows().stream().map(Measurement::title))
        .containsExactly(
            "tiny, EulerDiscrete, 3 steps",
            "tiny, EulerDiscrete, 2 steps",
            "tiny, DDIM, 3 steps",
            "tiny, DDIM, 2 steps",
            "tiny, dpmpp-2m-karras, 3 steps",
            "tiny, dpmpp-2m-karras, 2 steps");
    Measurement ddim = evaluated.rows().get(2);
    assertThat(ddim.latents().rmse()).isGreaterThan(1e-3); // it does draw something else
    assertThat(ddim.inWindows()).isNotNull(); // its states lie on a path, those of Euler do not
    assertThat(evaluated.rows().get(0).inWindows()).isNull();
    assertThat(progress).contains("tiny, DDIM, 3 steps: 6 of 6 pictures");
    assertThat(evaluated.summary()).contains("reference: tiny, EulerDiscrete, 3 steps");
    assertThat(evaluated.settings())
        .containsEntry("guidance", "1.0 (tiny), 1.0 (tiny), 1.0 (tiny)")
        .containsKey("software");

    EvaluationReport report = new EvaluationReport("Tiny", evaluated);
    report.write(temp.resolve("out"));
    assertThat(temp.resolve("out"))
        .isDirectoryContaining("glob:**report.html")
        .isDirectoryContaining("glob:**report.md")
        .isDirectoryContaining("glob:**grid.png")
        .isDirectoryContaining("glob:**measurements.json");
    assertThat(report.json().systems()).hasSize(6);
  }

  @Test
  void modelsOfOneNameAreToldApart(@TempDir Path temp) throws IOException {
    Files.createDirectories(temp.resolve("one"));
    Files.createDirectories(temp.resolve("two"));
    Path one = TinyTeacher.in(temp.resolve("one/model"), "DDIMScheduler");
    Path two = TinyTeacher.in(temp.resolve("two/model"), "DDIMScheduler");
    Evaluated evaluated =
        Evaluator.on(FEATURES)
            .teacher(one)
            .model(one)
            .model(two)
            .data(TinyTeacher.data(temp.resolve("data")))
            .options(OPTIONS.withTeacherSteps(List.of(2)))
            .run(line -> {});
    assertThat(evaluated.rows().stream().map(Measurement::title))
        .containsExactly(
            "Teacher, DDIM, 2 steps", "one/model, DDIM, 2 steps", "two/model, DDIM, 2 steps");
    assertThat(evaluated.settings()).containsKeys("teacher", "model one/model", "model two/model");
  }

  @Test
  void whatCannotBeMeasuredIsRefusedBeforeModelsAreLoaded() {
    Evaluator nowhere = Evaluator.on(Path.of("nowhere")).model(Path.of("nowhere"));
    assertThatThrownBy(() -> nowhere.run(line -> {})).hasMessageContaining("data with captions");
    assertThatThrownBy(() -> nowhere.pictures(List.of(Path.of("drawn")), line -> {}))
        .hasMessageContaining("reference folder");
    assertThatThrownBy(() -> OPTIONS.withStraightPictures(0))
        .hasMessage("straightPictures must be 1 or more; got 0");
    assertThatThrownBy(() -> OPTIONS.withStudentSteps(List.of()))
        .hasMessageContaining("studentSteps must be one number or several");
    assertThatThrownBy(() -> OPTIONS.withPictures(5)).hasMessageContaining("6 or more");
    assertThatThrownBy(() -> OPTIONS.withGuidance(-1.0)).hasMessageContaining("-1.0");
    assertThatThrownBy(() -> OPTIONS.withResamples(-1)).hasMessageContaining("resamples");
  }
}
