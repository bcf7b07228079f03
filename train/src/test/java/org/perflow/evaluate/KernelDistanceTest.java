package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class KernelDistanceTest {
  @Test
  void agreesWithTheDefinitionInNumpy() {
    try (Scope scope = Scope.open()) {
      // off(k(x,x)) + off(k(y,y)) - 2 k(x,y).mean(), k = (a@b.T/4+1)**3, off: mean off the diagonal
      FeatureSet y = new FeatureSet(FeatureFigures.cosines(9), Bootstrap.byPicture(9, 1));
      FeatureSet twelve = new FeatureSet(FeatureFigures.sines(12), Bootstrap.byPicture(12, 2));
      double unpaired = KernelDistance.between(y, twelve, 0).value();
      assertThat(unpaired).isCloseTo(1.4129328873222287, within(0.35)); // 100 subsets of 9
      FeatureSet nine = new FeatureSet(FeatureFigures.sines(9), y.bootstrap());
      double paired = KernelDistance.between(nine, y, 0).value();
      assertThat(paired).isCloseTo(1.3469771060152764, within(1e-12));
    }
  }

  @Test
  void normalVariablesHaveAClosedForm() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(4)) {
      // D = 1, k = (xy + 1)³: E k = Σ C(3,n) E[xⁿ] E[yⁿ]; moments of N(0,1): 1,0,1,0, of N(1,1):
      // 1,1,2,4, so 4 within the first, 32 within the second, 7 between: 4 + 32 - 14 = 22
      Tensor x = Tensor.randn(rng, 2500, 1);
      Tensor y = Tensor.randn(rng, 2500, 1).add(1);
      Estimate distance =
          KernelDistance.between(
              new FeatureSet(x, Bootstrap.byPicture(2500, 1)),
              new FeatureSet(y, Bootstrap.byPicture(2500, 2)),
              60);
      assertThat(distance.value()).isCloseTo(22, within(3.0));
      assertThat(22.0).isBetween(distance.low(), distance.high());
      assertThat(distance.high() - distance.low()).isBetween(2.0, 12.0);
    }
  }

  @Test
  void aSetIsAtNoDistanceFromItselfAndDrawsOfOneKindStraddleZero() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(5)) {
      FeatureSet set = new FeatureSet(Tensor.randn(rng, 50, 8), Bootstrap.byPicture(50, 1));
      Estimate itself = KernelDistance.between(set, set, 10);
      assertThat(itself.value()).isCloseTo(0, within(1e-12));
      assertThat(itself.high()).isCloseTo(0, within(1e-12));
      FeatureSet fellow = new FeatureSet(Tensor.randn(rng, 50, 8), Bootstrap.byPicture(50, 2));
      assertThat(KernelDistance.between(set, fellow, 200).isNotZero()).isFalse();
    }
  }

  @Test
  void featuresOfAnotherNetworkAreRefused() {
    try (Scope scope = Scope.open()) {
      FeatureSet two = new FeatureSet(Tensor.full(1, 6, 2), Bootstrap.byPicture(6, 0));
      FeatureSet three = new FeatureSet(Tensor.full(1, 6, 3), Bootstrap.byPicture(6, 0));
      assertThatThrownBy(() -> KernelDistance.between(two, three, 0))
          .hasMessageContaining("2 and 3 numbers");
      assertThatThrownBy(() -> new FeatureSet(Tensor.full(1, 6, 2), Bootstrap.byPicture(5, 0)))
          .hasMessageContaining("[5, D]");
    }
  }
}
