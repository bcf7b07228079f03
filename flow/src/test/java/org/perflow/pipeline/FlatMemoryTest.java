package org.perflow.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.perflow.flow.Golden;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Scope;

/** What drawing takes it gives back, picture by picture and in batches of many sizes. */
@Tag("slow")
class FlatMemoryTest {
  private static final int PICTURES = 10_000;

  @Test
  void tenThousandPicturesLeaveNothingBehind() throws IOException {
    Device.threads(1); // this network is too small to share out
    List<Long> objects = new ArrayList<>();
    List<Long> bytes = new ArrayList<>();
    try (Pipeline pipeline = Pipeline.load(Golden.MODELS.resolve("sd15"), DType.F32)) {
      Request request = Request.of("a red apple").withSteps(1).withGuidance(2);
      for (int drawn = 0; drawn < PICTURES; ) {
        int batch = 1 + drawn / 10 % 4;
        int side = 8 * (1 + drawn / 100 % 4);
        List<Request> some = request.withSize(side, side).withSeed(drawn).repeat(batch);
        pipeline.generate(some, batch, StepListener.NONE).close();
        drawn += batch;
        if (drawn / 1000 > bytes.size()) {
          bytes.add(Scope.physicalBytes());
          objects.add(Scope.liveObjects());
          System.out.printf(
              "%,6d pictures: %,d KB resident, %d native objects%n",
              drawn, bytes.get(bytes.size() - 1) >> 10, objects.get(objects.size() - 1));
        }
      }
    }
    assertThat(objects).containsOnly(objects.get(0));
    assertThat(bytes).allMatch(now -> now - bytes.get(0) < 32L << 20);
  }
}
