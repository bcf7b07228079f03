package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.perflow.evaluate.Frechet.Gaussian;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class FrechetTest {
  @Test
  void aSetIsAtNoDistanceFromItself() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(1)) {
      Gaussian gaussian = Gaussian.of(Tensor.randn(rng, 300, 32));
      assertThat(Frechet.distance(gaussian, gaussian)).isCloseTo(0, within(1e-9));
    }
  }

  @Test
  void diagonalGaussiansHaveAClosedForm() {
    Gaussian a = new Gaussian(10, new double[] {1, 2, 3}, diagonal(4, 9, 0));
    Gaussian b = new Gaussian(10, new double[] {0, 2, 5}, diagonal(1, 16, 0.25));
    // Σ (m1-m2)² + (√v1-√v2)²
    double expected = (1 + 1) + (0 + 1) + (4 + 0.25);
    assertThat(Frechet.distance(a, b)).isCloseTo(expected, within(1e-9));
    assertThat(Frechet.distance(b, a)).isCloseTo(expected, within(1e-9));
  }

  @Test
  void correlatedFeaturesAgreeWithTheComplexSquareRootOfNumpy() {
    int n = 40;
    int d = 5;
    double[] a = new double[n * d];
    double[] b = new double[n * d];
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < d; j++) {
        a[i * d + j] = Math.sin(0.7 * i + 1.3 * j * j) + 0.1 * j * i / n;
        b[i * d + j] = 1.4 * Math.cos(0.9 * i * (j + 1)) + 0.3 * Math.sin(i) + 0.2 * j;
      }
    }
    try (Scope scope = Scope.open()) {
      double distance =
          Frechet.distance(Gaussian.of(Tensor.of(a, n, d)), Gaussian.of(Tensor.of(b, n, d)));
      // |m1-m2|² + tr(S1+S2) - 2 Σ√eig(S1 S2), numpy float64 with np.cov
      assertThat(distance).isCloseTo(2.692193637382255, within(1e-6));
    }
  }

  @Test
  void theIntervalCoversTheTruthOfManySamplesAndShrinksWithThem() {
    // N(0, 1) against N(1, 1) in one dimension: 1
    double wide = 0;
    for (int count : new int[] {100, 1600}) {
      try (Scope scope = Scope.open();
          Rng rng = Rng.seeded(11)) {
        Estimate distance =
            Frechet.between(
                new FeatureSet(Tensor.randn(rng, count, 1), Bootstrap.byPicture(count, 1)),
                new FeatureSet(Tensor.randn(rng, count, 1).add(1), Bootstrap.byPicture(count, 2)),
                100);
        assertThat(1.0).isBetween(distance.low(), distance.high());
        assertThat(distance.value()).isBetween(distance.low(), distance.high());
        double width = distance.high() - distance.low();
        if (count == 1600) {
          assertThat(wide / width).isBetween(2.5, 6.5); // √16 = 4
        }
        wide = width;
      }
    }
  }

  @Test
  void pairsAreResampledTogether() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(12)) {
      Tensor features = Tensor.randn(rng, 60, 6);
      Bootstrap bootstrap = Bootstrap.byPicture(60, 1);
      FeatureSet set = new FeatureSet(features, bootstrap);
      FeatureSet moved = new FeatureSet(features.add(0.5), bootstrap);
      Estimate distance = Frechet.between(moved, set, 50);
      assertThat(distance.value()).isCloseTo(6 * 0.25, within(1e-5)); // the means alone
      assertThat(distance.high() - distance.low()).isLessThan(1e-4);
    }
  }

  @Test
  void whatDoesNotCompareIsRefused() {
    Gaussian two = new Gaussian(10, new double[2], new double[4]);
    Gaussian three = new Gaussian(10, new double[3], new double[9]);
    assertThatThrownBy(() -> Frechet.distance(two, three)).hasMessageContaining("2 and 3");
    Gaussian broken = new Gaussian(10, new double[] {0, Double.NaN}, new double[4]);
    assertThatThrownBy(() -> Frechet.distance(two, broken)).isInstanceOf(ArithmeticException.class);
    try (Scope scope = Scope.open()) {
      assertThatThrownBy(() -> Gaussian.of(Tensor.full(1, 1, 4)))
          .hasMessageContaining("2 pictures");
    }
  }

  private static double[] diagonal(double... variances) {
    int size = variances.length;
    double[] matrix = new double[size * size];
    for (int i = 0; i < size; i++) {
      matrix[i * size + i] = variances[i];
    }
    return matrix;
  }
}
