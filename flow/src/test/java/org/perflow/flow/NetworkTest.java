package org.perflow.flow;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** Guidance of a network whose answer is what it is told. */
class NetworkTest {
  private final List<Long> passes = new ArrayList<>();

  /** Says the one number that each row is told. */
  private final Network echo =
      told ->
          (z, timesteps) -> {
            passes.add(z.size(0));
            return told.text().reshape(-1, 1, 1, 1).to(DType.F32);
          };

  private static Conditioning told(double... rows) {
    return Conditioning.of(Tensor.of(rows).to(DType.F32).reshape(rows.length, 1, 1));
  }

  private float[] ask(Denoiser denoiser) {
    return denoiser.predict(Tensor.full(0, 2, 1, 1, 1), Tensor.full(0, 2)).toFloatArray();
  }

  @Test
  void goesBeyondWhatIsToldAwayFromNothing() {
    try (Scope scope = Scope.open()) {
      Conditioning captions = told(3, 5);
      assertThat(ask(echo.guided(captions, told(1, 2), 2))).containsExactly(5, 8);
      assertThat(ask(echo.guided(captions, told(1), 2))) // one row for all
          .isEqualTo(ask(echo.guided(captions, told(1, 1), 2)))
          .containsExactly(5, 9);
      assertThat(ask(echo.guided(captions, told(1), Tensor.of(new float[] {2, 3}))))
          .containsExactly(5, 13);
      assertThat(passes).containsOnly(4L); // both halves at once
    }
  }

  @Test
  void noGuidanceIsOnePass() {
    try (Scope scope = Scope.open()) {
      assertThat(ask(echo.guided(told(3, 5), told(1), 1))).containsExactly(3, 5);
      assertThat(passes).containsExactly(2L);
    }
  }
}
