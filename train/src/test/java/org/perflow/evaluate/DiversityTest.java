package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class DiversityTest {
  @Test
  void isTheMeanOverCaptionsOfTheMeanOverPairs() {
    try (Scope scope = Scope.open()) {
      Tensor features =
          Tensor.of(
              new double[] {
                1, 0, // a
                7, 0, // b
                0, 2, // a: at right angles to the first, whatever the length
                5, 0, // b: the first again
                3, 3, // a: halfway
                9, 9 // c: alone
              },
              6,
              2);
      Diversity diversity =
          Diversity.of(features, List.of("a", "b", "a", "b", "a", "c"), 0).orElseThrow();
      double a = (1 + 2 * (1 - Math.sqrt(0.5))) / 3;
      assertThat(diversity.distance().value()).isCloseTo((a + 0) / 2, within(1e-12));
      assertThat(diversity.distance().samples()).isEqualTo(2);
      assertThat(diversity.distance().low()).isCloseTo(0, within(1e-12));
      assertThat(diversity.distance().high()).isCloseTo(a, within(1e-12));
    }
  }

  @Test
  void vendiCountsDifferentPictures() {
    try (Scope scope = Scope.open()) {
      Tensor different = Tensor.of(new double[] {1, 0, 0, 0, 1, 0, 0, 0, 1}, 3, 3);
      List<String> captions = List.of("a", "a", "a");
      assertThat(Diversity.of(different, captions, 0).orElseThrow().vendi().value())
          .isCloseTo(3, within(1e-9));
      assertThat(Diversity.of(Tensor.full(1, 3, 3), captions, 0).orElseThrow().vendi().value())
          .isCloseTo(1, within(1e-9));
    }
  }

  @Test
  void oneSeedACaptionSaysNothing() {
    try (Scope scope = Scope.open()) {
      assertThat(Diversity.of(Tensor.full(1, 2, 3), List.of("a", "b"), 0)).isEmpty();
    }
  }
}
