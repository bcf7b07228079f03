package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TeacherSolver;
import org.perflow.flow.TimeWindows;
import org.perflow.models.DiffusionModel;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Sampled;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** What evaluation leaves to a device, on libtorch's without data: up to the way to the host. */
class MetaEvaluationTest {
  private static final Path MODELS = Path.of("../models/src/test/resources/golden/models");

  @Test
  void casesAreDrawnThere() throws IOException {
    try (DiffusionModel model =
            DiffusionModel.load(MODELS.resolve("sd15"), DType.F32, Device.META);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Drawing drawing = new Drawing(new Pipeline(model).withScheduler("ddim"), 7.5, 4, DType.F32);
      Sampled sampled = drawing.sample(Case.of(List.of("a cat", "a dog"), 4, 0));
      assertThat(sampled.states()).allMatch(state -> state.device().equals(Device.META));
      Tensor pictures = drawing.decode(sampled.latents());
      assertThat(pictures.device()).isEqualTo(Device.META);
      try (FeatureNetwork features = features()) {
        Tensor seen = features.ofAnySize(pictures);
        assertThat(seen.device()).isEqualTo(Device.META);
        assertThat(seen.size(0)).isEqualTo(4);
      }
    }
  }

  private static FeatureNetwork features() {
    FeatureNetwork network =
        new FeatureNetwork(new FeatureNetwork.Config("test", 64, List.of(8, 16), 4, 10));
    network.to(Device.META);
    try (Rng rng = Rng.seeded(0)) {
      network.initialise(rng, DType.F32);
    }
    return network;
  }

  /** What {@link SolverErrors} measures, but for the lengths, which it reads. */
  @Test
  void trajectoriesAreSolvedThere() {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(0)) {
      Tensor z = Tensor.randn(rng, 2, 4, 8, 8).to(Device.META);
      PfOdeSolver solver =
          new PfOdeSolver(
              NoiseSchedule.stableDiffusion(), PredictionType.EPSILON, TeacherSolver.DDIM, 4);
      Tensor end =
          solver.solve(
              (state, times) -> state.mul(times.to(state.device()).asRows(4)),
              z,
              new TimeWindows(2),
              new double[] {1, 0.5});
      assertThat(end.sub(z).norm().device()).isEqualTo(Device.META);
    }
  }
}
