package org.perflow.accelerate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Rng;

/** The benchmark's own steps, on a model small enough to test. */
class BenchmarkTest {
  private static final Path TINY = Path.of("../models/src/test/resources/golden/models/sd15");

  @Test
  void drawsAndTrains() throws IOException {
    try (DiffusionModel model = DiffusionModel.load(TINY, DType.F32);
        Rng rng = Rng.seeded(0)) {
      Benchmark.Measured drawn = Benchmark.of(32).measure("tiny", model, rng);
      Benchmark.Measured measured =
          Benchmark.of(32)
              .withDevice(Device.CPU)
              .withTrain(true)
              .withSolvingSteps(2)
              .measure("tiny", model, rng);
      assertThat(measured.loss()).isFinite().isPositive();
      assertThat(measured.train().seconds()).isPositive();
      assertThat(drawn.sample().cost().coreSeconds()).isPositive();
      assertThat(drawn.sample().teraflops()).isPositive();
      assertThat(measured.limitTeraflops()).isPositive();
    }
  }
}
