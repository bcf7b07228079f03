package org.perflow.distill.perflow;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import org.junit.jupiter.api.Test;
import org.perflow.distill.Formula;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.distill.UnetNet;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TimeWindows;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.train.Examples;
import org.perflow.train.Gaussian;
import org.perflow.train.Golden;

class SanityProbeTest {
  private static SanityProbe probe(UNet2DConditionModel unet, PredictionType type) {
    var network = UnetNet.of(unet, DType.F32, null);
    var teacher = new Task.Teacher(network, Gaussian.scheduler(type));
    return SanityProbe.of(
        Gaussian.task(new Noise(), teacher, network),
        new PiecewiseFlow(Gaussian.SCHEDULE, new TimeWindows(4), Parameterization.DDIM_EPS),
        new PfOdeSolver(Gaussian.SCHEDULE, type, 2));
  }

  @Test
  void anUntrainedStudentIsTheTeachersDdim() throws IOException {
    try (UNet2DConditionModel unet = Golden.unet()) {
      SanityProbe probe = probe(unet, PredictionType.EPSILON);
      assertThat(probe.ddimError()).isLessThan(1e-3);
      assertThat(probe.windowErrors()).hasSize(4);
      probe.require();
    }
  }

  @Test
  void aVelocityTeacherIsCaughtBeforeTraining() throws IOException {
    try (UNet2DConditionModel unet = Golden.unet()) {
      SanityProbe probe = probe(unet, PredictionType.V_PREDICTION);
      assertThatThrownBy(() -> probe.require())
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("v_prediction")
          .hasMessageContaining("use parameterization VELOCITY");
    }
  }

  /**
   * Data is 0, so z = σ ε with σ = sin φ, and v = cos φ ε: the student goes the teacher's way, cos
   * φ Δt in the place of sin φ_s - sin φ_e.
   */
  @Test
  void anUntrainedVelocityStudentKnowsTheDirection() {
    Net network =
        Formula.of(
            (z, timesteps) -> {
              int index = (int) Math.min(timesteps.toDoubleArray()[0], 999);
              index -= index % 250 == 0 ? 1 : 0; // a student is told T t, which is one more
              return z.mul(Gaussian.SCHEDULE.alpha(index) / Gaussian.SCHEDULE.sigma(index));
            });
    var teacher = new Task.Teacher(network, Gaussian.scheduler(PredictionType.V_PREDICTION));
    SanityProbe probe =
        SanityProbe.of(
            Gaussian.task(new Zeros(), teacher, network),
            new PiecewiseFlow(Gaussian.SCHEDULE, new TimeWindows(4), Parameterization.VELOCITY),
            new PfOdeSolver(Gaussian.SCHEDULE, PredictionType.V_PREDICTION, 10));
    probe.require();
    int[] edges = {999, 749, 499, 249, -1};
    for (int i = 0; i < 4; i++) {
      double way = Gaussian.SCHEDULE.sigma(edges[i]) - Gaussian.SCHEDULE.sigma(edges[i + 1]);
      double step = 0.25 * Gaussian.SCHEDULE.alpha(edges[i]);
      assertThat(probe.cosines().get(i)).isCloseTo(1, within(1e-4));
      assertThat(probe.windowErrors().get(i)).isCloseTo(Math.abs(step / way - 1), within(1e-3));
    }
    assertThat(probe.toString()).contains("cosine to the teacher's way 1.000 1.000");
  }

  private static final class Zeros implements Examples {
    @Override
    public int size() {
      return 3;
    }

    @Override
    public Tensor latents(long[] examples, Rng rng) {
      return Tensor.full(0, examples.length, 5);
    }

    @Override
    public Conditioning conditions(long[] examples, Rng rng) {
      return Conditioning.of(Tensor.full(0, examples.length, 1));
    }

    @Override
    public Conditioning nullCondition() {
      return Conditioning.of(Tensor.full(0, 1, 1));
    }
  }

  private static final class Noise implements Examples {
    @Override
    public int size() {
      return 1;
    }

    @Override
    public Tensor latents(long[] examples, Rng rng) {
      return Tensor.randn(rng, examples.length, 4, 16, 16);
    }

    @Override
    public Conditioning conditions(long[] examples, Rng rng) {
      return Conditioning.of(Tensor.randn(rng, examples.length, 8, 32));
    }

    @Override
    public Conditioning nullCondition() {
      return Conditioning.of(Tensor.full(0, 1, 8, 32));
    }
  }
}
