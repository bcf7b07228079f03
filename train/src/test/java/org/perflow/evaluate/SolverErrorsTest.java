package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.perflow.evaluate.SolverErrors.Setting;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Network;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TeacherSolver;
import org.perflow.flow.TimeWindows;
import org.perflow.models.DiffusionModel;
import org.perflow.pipeline.Pipeline;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.train.Golden;

class SolverErrorsTest {
  private static final TimeWindows WHOLE = new TimeWindows(1);
  private static final Setting FINE = new Setting(TeacherSolver.HEUN, 8);
  private static final List<Setting> SETTINGS = List.of(new Setting(TeacherSolver.DDIM, 2), FINE);

  /** XL is steered away from zeros where no negative prompt is given, not from the empty text. */
  @Test
  void theTeacherIsTheOneThatDraws() throws IOException {
    try (DiffusionModel xl = DiffusionModel.load(Golden.FOLDER.resolveSibling("sdxl"), DType.F32)) {
      List<SolverErrors> errors =
          SolverErrors.of(xl, List.of(new Case("a cat", 3)), 3, DType.F32, WHOLE, FINE, SETTINGS);
      assertThat(errors).isEqualTo(byHand(xl, null)).isNotEqualTo(byHand(xl, ""));
      assertThat(errors.get(0).whole()).isPositive();
      assertThat(errors.get(1).whole()).isZero();
    }
  }

  private static List<SolverErrors> byHand(DiffusionModel model, String negative) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Pipeline pipeline = new Pipeline(model, DType.F32);
      Conditioning told = pipeline.encode(List.of("a cat"));
      Conditioning empty = pipeline.encode(Arrays.asList(negative));
      int size = model.unet().config().sampleSize();
      return SolverErrors.of(
          new SolverErrors.Problem(
              NoiseSchedule.of(model.schedulerConfig()),
              PredictionType.of(model.schedulerConfig()),
              Network.of(model.unet()).guided(told, empty, 3)),
          Pipeline.noise(new long[] {3}, 4, size, size),
          WHOLE,
          FINE,
          SETTINGS);
    }
  }

  @Test
  void heunTakesEvenNumbersOfEvaluations() {
    assertThat(SolverErrors.settings(List.of(3, 4)))
        .contains(new Setting(TeacherSolver.DDIM, 3), new Setting(TeacherSolver.HEUN, 4))
        .doesNotContain(new Setting(TeacherSolver.HEUN, 3))
        .hasSize(2 * TeacherSolver.values().length - 1);
  }
}
