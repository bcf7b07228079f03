package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.function.DoubleFunction;
import org.junit.jupiter.api.Test;
import org.perflow.evaluate.Straightness.Trajectory;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class StraightnessTest {
  @Test
  void aStraightLineRunAtConstantSpeedIsStraightWhateverTheSteps() {
    try (Scope scope = Scope.open()) {
      double[] times = {1, 0.9, 0.4, 0};
      Straightness line = Straightness.of(path(times, t -> new double[] {3 * t, 1 - t}));
      assertThat(line.deviation()).isCloseTo(0, within(1e-6));
      assertThat(line.curvature()).isCloseTo(0, within(1e-6));
    }
  }

  @Test
  void changingSpeedDeviatesButDoesNotCurve() {
    try (Scope scope = Scope.open()) {
      // z = t²: velocity 2t, S = ∫(2t-1)² = 1/3 of the squared chord
      Straightness line = Straightness.of(path(even(1000), t -> new double[] {t * t, 0}));
      assertThat(line.deviation()).isCloseTo(1 / 3.0, within(1e-4));
      assertThat(line.curvature()).isCloseTo(0, within(1e-6));
    }
  }

  @Test
  void aQuarterCircleHasItsClosedForm() {
    try (Scope scope = Scope.open()) {
      double quarter = Math.PI / 2;
      Straightness arc =
          Straightness.of(
              path(even(400), t -> new double[] {Math.cos(quarter * t), Math.sin(quarter * t)}));
      // squared chord 2, speed π/2: S/chord² = (π²/4 - 2)/2; curvature 1 - √2/(π/2)
      assertThat(arc.deviation()).isCloseTo((quarter * quarter - 2) / 2, within(1e-4));
      assertThat(arc.curvature()).isCloseTo(1 - Math.sqrt(2) / quarter, within(1e-4));
    }
  }

  @Test
  void aBrokenLineIsStraightInItsWindowsOnly() {
    try (Scope scope = Scope.open()) {
      Trajectory broken = path(even(40), t -> new double[] {t, Math.abs(t - 0.5)});
      assertThat(Straightness.inWindows(broken, 2).deviation()).isCloseTo(0, within(1e-6));
      assertThat(Straightness.inWindows(broken, 1).deviation()).isCloseTo(1, within(1e-5));
      // thirds of time end between points of 40 steps; the kink is the middle one's
      assertThat(Straightness.inWindows(broken, 3).deviation()).isCloseTo(1 / 3.0, within(1e-5));
      Trajectory half = path(new double[] {0.4, 0.3, 0.2, 0}, t -> new double[] {t, 0});
      assertThatThrownBy(() -> Straightness.inWindows(half, 2))
          .hasMessageContaining("does not cross the window edge 0.5");
      Trajectory coarse = path(even(2), t -> new double[] {t, 0});
      assertThatThrownBy(() -> Straightness.inWindows(coarse, 2))
          .hasMessageContaining("more steps");
    }
  }

  @Test
  void thePathFromOneNoiseToOnePictureIsStraightInRectifiedCoordinates() {
    try (Scope scope = Scope.open()) {
      int points = 101;
      double[] alpha = new double[points];
      double[] sigma = new double[points];
      List<Tensor> latents = new ArrayList<>();
      for (int i = 0; i < points; i++) {
        double angle = Math.PI / 2 * (points - 1 - i) / (points - 1); // noise first
        alpha[i] = Math.cos(angle);
        sigma[i] = Math.sin(angle);
        latents.add(
            Tensor.of(new double[] {2 * alpha[i] - sigma[i], alpha[i] + 3 * sigma[i]}, 1, 2));
      }
      Trajectory rectified = Straightness.rectified(latents, alpha, sigma);
      assertThat(Straightness.of(rectified).deviation()).isCloseTo(0, within(1e-5));
      Trajectory raw = new Trajectory(latents, even(points - 1));
      assertThat(Straightness.of(raw).deviation()).isGreaterThan(0.1);
    }
  }

  @Test
  void timesMustFall() {
    try (Scope scope = Scope.open()) {
      List<Tensor> points = List.of(Tensor.full(0, 1, 2), Tensor.full(1, 1, 2));
      assertThatThrownBy(() -> new Trajectory(points, new double[] {0, 1}))
          .hasMessageContaining("must fall");
      assertThatThrownBy(() -> new Trajectory(points, new double[] {1}))
          .hasMessageContaining("2 points and 1 times");
    }
  }

  private static double[] even(int steps) {
    double[] times = new double[steps + 1];
    for (int i = 0; i <= steps; i++) {
      times[i] = 1 - (double) i / steps;
    }
    return times;
  }

  private static Trajectory path(double[] times, DoubleFunction<double[]> at) {
    List<Tensor> points = new ArrayList<>();
    for (double time : times) {
      points.add(Tensor.of(at.apply(time), 1, 2));
    }
    return new Trajectory(points, times);
  }
}
