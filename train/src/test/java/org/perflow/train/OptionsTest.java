package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.distill.Distance;
import org.perflow.distill.perflow.PerflowOptions;
import org.perflow.distill.perflow.PerflowOptions.GuidanceMode;
import org.perflow.distill.perflow.PerflowOptions.Reweighting;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.TeacherSolver;
import org.perflow.io.Overrides;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;

class OptionsTest {
  @TempDir Path temp;

  @Test
  void aFileIsLaidOverTheDefaults() throws IOException {
    Path file = temp.resolve("train.json");
    Files.writeString(file, "{\"steps\": 70, \"compute\": \"F32\"}");
    TrainOptions options = Overrides.read(file, TrainOptions.DEFAULTS);
    assertThat(options.steps()).isEqualTo(70);
    assertThat(options.compute()).isEqualTo(Compute.F32);
    assertThat(options.batch()).isEqualTo(TrainOptions.DEFAULTS.batch());
  }

  @Test
  void unknownKeysAndImpossibleValuesAreErrors() throws IOException {
    Path file = temp.resolve("train.json");
    Files.writeString(file, "{\"stepps\": 70}");
    assertThatThrownBy(() -> Overrides.read(file, TrainOptions.DEFAULTS))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("train.json")
        .hasMessageContaining("stepps");
    assertThatThrownBy(() -> TrainOptions.DEFAULTS.withSteps(0))
        .hasMessageContaining("the run has no end");
    assertThatThrownBy(() -> Compute.of(DType.I64)).hasMessageContaining("float32, bfloat16 or");
    assertThatThrownBy(() -> PerflowOptions.DEFAULTS.withDiscreteTimesteps(50))
        .hasMessageContaining("multiple of the windows");
    assertThatThrownBy(
            () ->
                PerflowOptions.DEFAULTS.with(
                    o -> o.path(PiecewiseFlow.Curve.DDIM).discreteTimesteps(-1)))
        .hasMessageContaining("path DDIM goes over the teacher's noise levels");
    assertThatThrownBy(() -> PerflowOptions.DEFAULTS.withGuidanceMode(GuidanceMode.FIXED))
        .hasMessageContaining("above 1 with FIXED");
    assertThatThrownBy(
            () -> PerflowOptions.DEFAULTS.with(o -> o.solver(TeacherSolver.HEUN).solvingSteps(5)))
        .hasMessageContaining("got 5 evaluations for the solver heun");
    assertThatThrownBy(
            () ->
                PerflowOptions.DEFAULTS
                    .withDistance(Distance.PSEUDO_HUBER)
                    .withReweighting(Reweighting.RCP_WIN))
        .hasMessageContaining("L2 only");
  }

  @Test
  void settingsThatOnlyGoTogetherAreChangedTogether() {
    PerflowOptions guided =
        PerflowOptions.DEFAULTS.with(o -> o.guidanceMode(GuidanceMode.FIXED).guidance(3));
    assertThat(guided.guidanceMode()).isEqualTo(GuidanceMode.FIXED);
    assertThat(guided.guidance()).isEqualTo(3);
    assertThat(guided.with(o -> o.guidanceMode(GuidanceMode.SYNC).guidance(1)))
        .isEqualTo(PerflowOptions.DEFAULTS);
  }

  @Test
  void curriculumAndGridFollowTheWindows() {
    PerflowOptions options =
        PerflowOptions.DEFAULTS.withCurriculumWindows(8).withCurriculumUntil(0.25);
    assertThat(options.windowsAt(0.24)).isEqualTo(8);
    assertThat(options.windowsAt(0.25)).isEqualTo(4);
    assertThat(options.gridPoints(3)).isEqualTo(12);
  }
}
