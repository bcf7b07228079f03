package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.perflow.io.WeightsKind.Family;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;

/** The benchmark's own steps, on a model small enough to test. */
class BenchmarkCommandTest {
  private static final Path TINY = Path.of("../models/src/test/resources/golden/models/sd15");

  @Test
  void drawsAndTrains() throws IOException {
    BenchmarkCommand command = new BenchmarkCommand();
    command.family = Family.SD1;
    command.size = 32;
    command.solvingSteps = 2;
    command.train = true;
    try (DiffusionModel model = DiffusionModel.load(TINY, DType.F32);
        Rng rng = Rng.seeded(0)) {
      BenchmarkCommand.Measured measured = command.measure(model, rng);
      assertThat(measured.loss()).isFinite().isPositive();
      assertThat(measured.train().seconds()).isPositive();
      assertThat(measured.sample().coreSeconds()).isPositive();
    }
  }
}
