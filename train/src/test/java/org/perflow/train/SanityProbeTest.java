package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import org.junit.jupiter.api.Test;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TimeWindows;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;

class SanityProbeTest {
  private static SanityProbe probe(UNet2DConditionModel unet, PredictionType type) {
    var network = PerflowObjective.Network.of(unet, DType.F32);
    var teacher = new PerflowObjective.Teacher(network, Gaussian.SCHEDULE, type);
    return SanityProbe.of(
        new Noise(),
        teacher,
        network,
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
    public Tensor conditions(long[] examples, Rng rng) {
      return Tensor.randn(rng, examples.length, 8, 32);
    }

    @Override
    public Tensor nullCondition() {
      return Tensor.full(0, 1, 8, 32);
    }
  }
}
