package org.perflow.flow;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.perflow.flow.Parameterization.DDIM_EPS;
import static org.perflow.flow.Parameterization.DIFF_EPS;
import static org.perflow.flow.Parameterization.VELOCITY;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.flow.Parameterization.Link;
import org.perflow.flow.TimeWindows.Window;

class ParameterizationTest {
  private static final TimeWindows FOUR = new TimeWindows(4);
  private final NoiseSchedule exact = NoiseScheduleTest.exact();

  private PiecewiseFlow flow(Parameterization kind) {
    return new PiecewiseFlow(exact, FOUR, kind);
  }

  @ParameterizedTest
  @CsvSource({
    "4, 3.48578642, -2.50637917, -3.33926743",
    "3, 2.21445003, -1.30094133, -1.97580083",
    "2, 1.55964854, -0.75583727, -1.19687241",
    "1, 1.21625432, -0.66375547, -0.69229660"
  })
  void linkOfEachWindow(int k, double lambda, double ddim, double diff) {
    Link ddimLink = flow(DDIM_EPS).link(FOUR.window(k));
    Link diffLink = flow(DIFF_EPS).link(FOUR.window(k));
    assertThat(ddimLink.lambda()).isCloseTo(lambda, within(6e-9));
    assertThat(diffLink.lambda()).isEqualTo(ddimLink.lambda());
    assertThat(ddimLink.eta()).isCloseTo(ddim, within(6e-9));
    assertThat(diffLink.eta()).isCloseTo(diff, within(6e-9));
  }

  @ParameterizedTest // as float32 rounds them
  @CsvSource({
    "4, 3.48578635, -2.50637909, -3.33926736",
    "3, 2.21445000, -1.30094122, -1.97580081",
    "2, 1.55964878, -0.75583739, -1.19687272",
    "1, 1.21625461, -0.66375560, -0.69229709"
  })
  void linkFromTheFloat32Table(int k, double lambda, double ddim, double diff) {
    NoiseSchedule single = NoiseSchedule.stableDiffusion();
    Link link = new PiecewiseFlow(single, FOUR, DDIM_EPS).link(FOUR.window(k));
    assertThat(link.lambda()).isCloseTo(lambda, within(3e-7));
    assertThat(link.eta()).isCloseTo(ddim, within(3e-7));
    assertThat(new PiecewiseFlow(single, FOUR, DIFF_EPS).link(FOUR.window(k)).eta())
        .isCloseTo(diff, within(3e-7));
  }

  @Test
  void linkToCleanData() {
    PiecewiseFlow clean = new PiecewiseFlow(exact.withAlphaToOne(true), FOUR, DDIM_EPS);
    assertThat(clean.link(FOUR.window(1)).lambda()).isCloseTo(1.21677156, within(6e-9));
    assertThat(clean.link(FOUR.window(1)).eta()).isCloseTo(-0.69320490, within(6e-9));
  }

  @ParameterizedTest
  @CsvSource({
    "1000, 3.48578642, -9.94314570, -2.50637917, 10.02551669, -3.33926743, 13.35706974",
    "937, 2.14322889, -6.11352346, -1.15269962, 6.16416911, -1.53575020, 8.21256790",
    "875, 1.55414730, -4.43317838, -0.55873796, 4.46990371, -0.74441070, 5.95528564",
    "833, 1.31019712, -3.73731470, -0.31276686, 3.76827536, -0.41670158, 5.02050102",
    "751, 1.00286064, -2.86064270, -0.00288434, 2.88434083, -0.00384283, 3.84282854",
    "750, 2.21445003, -4.85780010, -1.30094133, 5.20376530, -1.97580083, 7.90320332",
    "625, 1.37780958, -3.02247667, -0.40471661, 3.23773290, -0.61466217, 4.91729736",
    "501, 1.00219851, -2.19850525, -0.00235508, 2.35507948, -0.00357677, 3.57677006",
    "500, 1.55964854, -2.23859415, -0.75583727, 3.02334908, -1.19687241, 4.78748963",
    "375, 1.21864273, -1.74914182, -0.29528947, 2.36231579, -0.46759248, 3.74073984",
    "250, 1.21625432, -0.86501729, -0.66375547, 2.65502186, -0.69229660, 2.76918639",
    "125, 1.09757649, -0.78061194, -0.29949427, 2.39595414, -0.31237236, 2.49897890",
    "62, 1.04612936, -0.74402202, -0.14158615, 2.28364766, -0.14767428, 2.38184329",
    "1, 1.00071172, -0.71172034, -0.00218450, 2.18450323, -0.00227844, 2.27843571"
  })
  void slopeInsideTheWindow(
      int timestep, double lambda, double a, double ddim, double bDdim, double diff, double bDiff) {
    double t = timestep / 1000.0;
    Window window = FOUR.at(t);
    double r = window.progress(t);
    Link link = flow(DDIM_EPS).link(window);
    assertThat(link.lambdaAt(r)).isCloseTo(lambda, within(1e-8));
    assertThat(link.etaAt(r)).isCloseTo(ddim, within(1e-8));
    assertThat(flow(DIFF_EPS).link(window).etaAt(r)).isCloseTo(diff, within(1e-8));
    assertThat(flow(DDIM_EPS).velocity(t).a()).isCloseTo(a, within(2e-8));
    assertThat(flow(DDIM_EPS).velocity(t).b()).isCloseTo(bDdim, within(2e-8));
    assertThat(flow(DIFF_EPS).velocity(t).a()).isCloseTo(a, within(2e-8));
    assertThat(flow(DIFF_EPS).velocity(t).b()).isCloseTo(bDiff, within(2e-8));
  }

  @ParameterizedTest // on scalars z_s = 0.7, z_e = -1.3
  @CsvSource({"1, 4", "0.9, 4", "0.75, 4", "0.4131, 4", "0.0011, 4", "0.6, 3", "0.97, 16"})
  void targetAndVelocityAgreeEverywhere(double t, int count) {
    double zStart = 0.7;
    double zEnd = -1.3;
    for (Parameterization kind : Parameterization.values()) {
      PiecewiseFlow flow = new PiecewiseFlow(exact, new TimeWindows(count), kind);
      Window window = flow.windows().at(t);
      double zt = apply(flow.between(t), zStart, zEnd);
      double target = apply(flow.target(window), zStart, zEnd);
      double slope = (zStart - zEnd) * count;
      assertThat(apply(flow.velocity(t), zt, target)).as(kind.key()).isCloseTo(slope, within(1e-9));
      assertThat((zEnd - zt) / (window.end() - t)).isCloseTo(slope, within(1e-9));
      assertThat(apply(flow.between(window.start()), zStart, zEnd)).isEqualTo(zStart);
    }
  }

  @Test // point-mass data
  void onAStraightPathEpsilonIsTheNoiseTimesRho() {
    double[] rho = {0.95877326, 0.63151031, 0.65843748, 0.75057755}; // window 1 ... 4
    double data = 0.4;
    double noise = -1.1;
    for (Window window : FOUR.noisyToClean()) {
      int start = window.startIndex(1000);
      int end = window.endIndex(1000);
      double zStart = exact.alpha(start) * data + exact.sigma(start) * noise;
      double zEnd = exact.alpha(end) * data + exact.sigma(end) * noise;
      assertThat(apply(flow(DDIM_EPS).target(window), zStart, zEnd)).isCloseTo(noise, within(1e-9));
      assertThat(apply(flow(DIFF_EPS).target(window), zStart, zEnd))
          .isCloseTo(rho[window.k() - 1] * noise, within(2e-8));
    }
  }

  @ParameterizedTest // arXiv 2410.07303: one ε leads from every point of the path to its end
  @CsvSource({"1, 4", "0.9, 4", "0.75, 4", "0.413, 4", "0.002, 4", "0.97, 10"})
  void onTheDdimPathOneDdimStepLeadsToTheEnd(double t, int count) {
    double zStart = 0.7;
    double zEnd = -1.3;
    PiecewiseFlow flow =
        new PiecewiseFlow(exact, new TimeWindows(count), DDIM_EPS, PiecewiseFlow.Curve.DDIM);
    Window window = flow.windows().at(t);
    double zt = apply(flow.between(t), zStart, zEnd);
    double target = apply(flow.target(window), zStart, zEnd);
    int from = (int) flow.timestep(t);
    Affine step = PredictionType.EPSILON.ddim(exact, from, window.endIndex(1000));
    assertThat(from).isEqualTo((int) Math.round(1000 * t) - 1);
    assertThat(apply(step, zt, target)).isCloseTo(zEnd, within(1e-9));
    assertThat(zt - (t - window.end()) * apply(flow.velocity(t), zt, target))
        .isCloseTo(zEnd, within(1e-9));
    assertThat(apply(flow.between(window.start()), zStart, zEnd)).isCloseTo(zStart, within(1e-12));
  }

  @Test
  void theDdimPathNeedsTheEpsilonOfDdim() {
    assertThatThrownBy(() -> new PiecewiseFlow(exact, FOUR, VELOCITY, PiecewiseFlow.Curve.DDIM))
        .hasMessageContaining("DDIM_EPS");
  }

  @Test
  void theDdimLinkIsTheDdimStep() {
    for (Window window : FOUR.noisyToClean()) {
      Affine step =
          PredictionType.EPSILON.ddim(exact, window.startIndex(1000), window.endIndex(1000));
      Link link = flow(DDIM_EPS).link(window);
      assertThat(step.a()).isCloseTo(link.lambda(), within(1e-12));
      assertThat(step.b()).isCloseTo(link.eta(), within(1e-12));
    }
  }

  @Test
  void keys() {
    assertThat(Parameterization.parse("ddim_eps")).isEqualTo(DDIM_EPS);
    assertThat(Parameterization.parse("epsilon")).isEqualTo(DIFF_EPS);
    assertThat(Parameterization.parse("velocity")).isEqualTo(VELOCITY);
    assertThatThrownBy(() -> Parameterization.parse("ddim-eps"))
        .hasMessageContaining("did you mean 'ddim_eps'?");
    assertThatThrownBy(() -> VELOCITY.link(0.1, 0.2)).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> DDIM_EPS.link(0, 0.2)).hasMessageContaining("zero terminal SNR");
  }

  static double apply(Affine affine, double x, double y) {
    return affine.a() * x + affine.b() * y;
  }
}
