package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class PrecisionRecallTest {
  @Test
  void pointsOnALineCanBeCountedByHand() {
    // radii of 0..5, k = 3: 3 2 2 2 2 3, k = 5: 5 4 3 3 4 5; of the drawn, k = 3: 18.6 12 3 2 2 3
    PrecisionRecall result = of(new double[] {2.4, 9, 20, 21, 22, 23}, 0, 1, 2, 3, 4, 5);
    assertThat(result.precise()).containsExactly(1, 0, 0, 0, 0, 0);
    assertThat(result.recalled()).containsOnly(1); // all within 18.6 of 2.4
    assertThat(result.density())
        .containsExactly(new double[] {1.2, 0.2, 0, 0, 0, 0}, within(1e-12));
    assertThat(result.covered()).containsOnly(1);
  }

  @Test
  void aMissedModeCostsRecallAndCoverageAlone() {
    PrecisionRecall result =
        of(
            new double[] {0.1, 1.1, 2.1, 3.1, 4.1, 5.1},
            0,
            1,
            2,
            3,
            4,
            5,
            100,
            101,
            102,
            103,
            104,
            105);
    assertThat(mean(result.precise())).isEqualTo(1);
    assertThat(mean(result.recalled())).isEqualTo(0.5);
    assertThat(mean(result.covered())).isEqualTo(0.5);
  }

  @Test
  void agreesWithTheDefinitionInNumpy() {
    try (Scope scope = Scope.open()) {
      PrecisionRecall result =
          PrecisionRecall.of(FeatureFigures.sines(12), FeatureFigures.cosines(9));
      assertThat(mean(result.precise())).isEqualTo(1);
      assertThat(mean(result.recalled())).isCloseTo(5 / 9.0, within(1e-12));
      assertThat(mean(result.density())).isCloseTo(1.45, within(1e-12));
      assertThat(mean(result.covered())).isEqualTo(1);
    }
  }

  @Test
  void tooFewPicturesAreRefused() {
    assertThatThrownBy(() -> of(new double[] {1, 2, 3, 4, 5}, 0, 1, 2, 3, 4, 5))
        .hasMessageContaining("6 pictures or more")
        .hasMessageContaining("5 and 6");
  }

  private static PrecisionRecall of(double[] drawn, double... reference) {
    try (Scope scope = Scope.open()) {
      return PrecisionRecall.of(
          Tensor.of(drawn, drawn.length, 1), Tensor.of(reference, reference.length, 1));
    }
  }

  private static double mean(double[] values) {
    return Arrays.stream(values).average().orElseThrow();
  }
}
