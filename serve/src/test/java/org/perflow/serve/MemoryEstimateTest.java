package org.perflow.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.perflow.io.Installation;
import org.perflow.models.DiffusionModel;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.pipeline.StepListener;
import org.perflow.tensor.DType;

/** The estimate that large requests are refused by, against what drawing takes. */
class MemoryEstimateTest {
  private static final Path PEAK = Path.of("/proc/self/clear_refs");

  private static long status(String name) throws IOException {
    return Files.readAllLines(Path.of("/proc/self/status")).stream()
        .filter(line -> line.startsWith(name + ":"))
        .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) << 10)
        .findFirst()
        .orElseThrow();
  }

  @Test
  void boundsWhatDrawingTakes() throws Exception {
    assumeTrue(Files.isWritable(PEAK), "needs Linux to measure");
    try (DiffusionModel model = DiffusionModel.load(Installation.teacher(), DType.F32)) {
      Pipeline pipe = new Pipeline(model, DType.F32);
      Request guided = Request.of("sun").withSteps(1).withGuidance(7.5);
      pipe.draw(guided); // what is there once
      for (int[] size : new int[][] {{64, 64, 16}, {256, 128, 4}, {256, 256, 2}}) {
        Request request = guided.withSize(size[0], size[1]);
        Files.writeString(PEAK, "5"); // the peak begins anew
        long before = status("VmRSS");
        pipe.generate(request.repeat(size[2]), size[2], StepListener.NONE).close();
        assertThat(status("VmHWM") - before)
            .as("%d x %d, %d pictures", size[0], size[1], size[2])
            .isLessThan(
                MemoryEstimate.drawing(model, DType.F32, size[0], size[1], size[2], true, false));
      }
      long large = MemoryEstimate.drawing(model, DType.F32, 1024, 1024, 1, true, false);
      assertThat(MemoryEstimate.drawing(model, DType.F32, 1024, 1024, 1, true, true))
          .isLessThan(large);
      assertThat(large).isLessThan(4L << 30); // 2.2 GB were measured
    }
  }
}
