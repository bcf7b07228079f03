package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class PairedErrorTest {
  @Test
  void picturesAreMeasuredInZeroToOneAfterClamping() {
    try (Scope scope = Scope.open()) {
      Tensor reference = Tensor.full(-1, 3, 3, 4, 4); // black
      PairedError grey = PairedError.ofPictures(Tensor.full(-0.8, 3, 3, 4, 4), reference);
      assertThat(grey.rmse()).isCloseTo(0.1, within(1e-6));
      assertThat(grey.psnr()).isCloseTo(20, within(1e-4));
      PairedError below = PairedError.ofPictures(Tensor.full(-1.7, 3, 3, 4, 4), reference);
      assertThat(below.rmse()).isZero();
      assertThat(below.psnr()).isEqualTo(100);
    }
  }

  @Test
  void rmseIsTheRootOfTheMeanSquareAndPsnrTheMeanOfDecibels() {
    PairedError error = PairedError.of(new double[] {0.01, 0.0001});
    assertThat(error.rmse()).isCloseTo(Math.sqrt(0.00505), within(1e-12));
    assertThat(error.psnr()).isCloseTo(30, within(1e-9));
    assertThat(error.error().low()).isCloseTo(0.01, within(1e-12)); // both draws the small pair
    assertThat(error.error().high()).isCloseTo(0.1, within(1e-12));
  }

  @Test
  void theIntervalIsThatOfTheNormalApproximationWhenPairsAreMany() {
    double[] squares = new double[1000];
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(3)) {
      float[] uniform = Tensor.rand(rng, 1000).toFloatArray();
      for (int i = 0; i < squares.length; i++) {
        squares[i] = uniform[i]; // mean 1/2, variance 1/12
      }
    }
    PairedError error = PairedError.of(squares);
    double halfWidth = 1.96 * Math.sqrt(1 / 12.0 / 1000) / (2 * Math.sqrt(0.5)); // delta method
    assertThat(error.error().high() - error.error().low())
        .isCloseTo(2 * halfWidth, within(0.15 * halfWidth));
    assertThat(error.rmse()).isBetween(error.error().low(), error.error().high());
    assertThat(PairedError.of(squares).error().low()).isEqualTo(error.error().low());
  }

  @Test
  void theMedianIsOfTheMiddlePairAndItsIntervalHoldsTheNeighbours() {
    double[] squares = new double[101];
    Arrays.setAll(squares, i -> i * i / 10_000.0); // roots 0, .01, ... 1
    squares[100] = 1e6; // moves the error, not the median
    PairedError error = PairedError.of(squares);
    assertThat(error.median().value()).isCloseTo(0.5, within(1e-12));
    // Binomial: ranks 50.5 ± 1.96 √101 / 2 of 101
    assertThat(error.median().low()).isCloseTo(0.40, within(0.025));
    assertThat(error.median().high()).isCloseTo(0.60, within(0.025));
  }

  @Test
  void latentsAreMeasuredAsTheyAreAndShapesMustMatch() {
    try (Scope scope = Scope.open()) {
      Tensor zeros = Tensor.full(0, 2, 4, 2, 2);
      assertThat(PairedError.ofLatents(Tensor.full(3, 2, 4, 2, 2), zeros).rmse()).isEqualTo(3);
      assertThatThrownBy(() -> PairedError.ofLatents(Tensor.full(3, 1, 4, 2, 2), zeros))
          .hasMessageContaining("[1, 4, 2, 2]")
          .hasMessageContaining("[2, 4, 2, 2]");
    }
    assertThatThrownBy(() -> PairedError.of(new double[0])).hasMessageContaining("none");
  }
}
