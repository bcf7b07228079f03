package org.perflow.distill.matching;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.perflow.distill.ring.Ring;
import org.perflow.flow.Denoiser;
import org.perflow.flow.PredictionType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** The direction that samples are moved in, against Gaussians in closed form. */
class ScoreMatchingTest {
  private static final int ROWS = 20_000;
  private static final int LEVEL = 500;
  private static final double ALPHA = Ring.SCHEDULE.alpha(LEVEL);
  private static final double SIGMA = Ring.SCHEDULE.sigma(LEVEL);

  // What is real has mean 1 and deviation 0.5, what is drawn 0.3 and 0.8.
  private static final Denoiser REAL = normal(1.0, 0.5);
  private static final Denoiser FAKE = normal(0.3, 0.8);

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  /** ε of N(mean, deviation²) at {@link #LEVEL}: −σ times the score of N(α mean, (α dev)² + σ²). */
  private static Denoiser normal(double mean, double deviation) {
    double variance = Math.pow(ALPHA * deviation, 2) + SIGMA * SIGMA;
    return (z, t) -> z.sub(ALPHA * mean).mul(SIGMA / variance);
  }

  private static Levels level(int rows) {
    return Levels.all(Ring.SCHEDULE, PredictionType.EPSILON, LEVEL, rows);
  }

  private static ScoreMatching by(ScoreMatching.Weight weight) {
    return new ScoreMatching(Ring.SCHEDULE, PredictionType.EPSILON, weight);
  }

  /** E over what is drawn of μ_fake − μ_real = (ν − μ) σ² / (α² c² + σ²): down towards the real. */
  @Test
  void pointsFromTheDrawnMeanToTheRealOne() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(3)) {
      Tensor x = Tensor.randn(rng, ROWS, 1, 1, 1).mul(0.8).add(0.3);
      Tensor noise = Tensor.randn(rng, x.shape());
      Tensor gradient =
          by(ScoreMatching.Weight.VARIANCE).gradient(x, REAL, FAKE, level(ROWS), noise);
      double difference = (0.3 - 1.0) * SIGMA * SIGMA / (ALPHA * ALPHA * 0.25 + SIGMA * SIGMA);
      // ε_real − ε_fake = α/σ (μ_fake − μ_real), weighted by σ².
      assertThat(gradient.mean().item()).isCloseTo(ALPHA * SIGMA * difference, within(0.01));
      assertThat(difference).isNegative(); // what is taken off x: x grows towards 1
    }
  }

  @Test
  void isNothingWhereBothScoresAgree() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(3)) {
      Tensor x = Tensor.randn(rng, 50, 1, 1, 1);
      Tensor noise = Tensor.randn(rng, x.shape());
      for (ScoreMatching.Weight weight : ScoreMatching.Weight.values()) {
        Tensor gradient = by(weight).gradient(x, REAL, REAL, level(50), noise);
        assertThat(gradient.abs().max().item()).isZero();
      }
    }
  }

  @Test
  void isNormalisedByTheDistanceToTheRealDataOfEachRow() {
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.of(new double[] {0.2, -1.5, 2, 0.7}, 2, 2, 1, 1);
      Tensor noise = Tensor.of(new double[] {1, 0.5, -0.3, 0}, 2, 2, 1, 1);
      double[] got =
          by(ScoreMatching.Weight.NORMALISED)
              .gradient(x, REAL, FAKE, level(2), noise)
              .toDoubleArray();
      double[] xs = x.toDoubleArray();
      double[] ns = noise.toDoubleArray();
      for (int row = 0; row < 2; row++) {
        double scale = 0;
        for (int i = 2 * row; i < 2 * row + 2; i++) {
          scale += Math.abs(xs[i] - data(xs[i], ns[i], 1.0, 0.5)) / 2;
        }
        for (int i = 2 * row; i < 2 * row + 2; i++) {
          double wanted = data(xs[i], ns[i], 0.3, 0.8) - data(xs[i], ns[i], 1.0, 0.5);
          assertThat(got[i]).isCloseTo(wanted / scale, within(1e-5));
        }
      }
    }
  }

  /** Posterior mean: the prior's, moved by the share of the signal's variance. */
  private static double data(double x, double noise, double mean, double deviation) {
    double z = ALPHA * x + SIGMA * noise;
    double variance = Math.pow(ALPHA * deviation, 2) + SIGMA * SIGMA;
    return mean + ALPHA * deviation * deviation / variance * (z - ALPHA * mean);
  }

  @Test
  void theLossHasThatGradientAndNoOther() {
    try (Scope scope = Scope.open();
        Rng first = Rng.seeded(4);
        Rng second = Rng.seeded(4)) {
      ScoreMatching matching = by(ScoreMatching.Weight.VARIANCE);
      Tensor x = Tensor.of(new float[] {0.2f, -1.5f, 2, 0.7f}, 4, 1, 1, 1).requiresGrad(true);
      Denoiser real = (z, t) -> z.square();
      Denoiser fake = (z, t) -> z.mul(0.3).sin();
      matching.loss(x, real, fake, first).backward();
      Levels levels = Levels.drawn(Ring.SCHEDULE, PredictionType.EPSILON, 0.02, 0.98, 4, second);
      Tensor noise = Tensor.randn(second, 4, 1, 1, 1);
      Tensor wanted = matching.gradient(x.detach(), real, fake, levels, noise).div(4);
      assertThat(x.grad().sub(wanted).abs().max().item()).isLessThan(1e-6);
      assertThat(levels.indices()).allMatch(i -> i >= 20 && i < 980);
    }
  }
}
