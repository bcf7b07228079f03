package org.perflow.accelerate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import org.perflow.io.Json;
import org.perflow.io.WeightsKind.Family;
import org.perflow.memory.Memory;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.UNetConfig;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Rng;
import org.perflow.train.LoraOptions;
import org.perflow.train.TrainOptions;

/** A training, in a process of its own: prints what was planned and the peak. */
final class PeakProgram {
  private PeakProgram() {}

  /** Two steps from the teacher that comes with perflow: a folder and the size of a batch. */
  public static void main(String[] args) throws Exception {
    if (args[1].equals("lora")) {
      lora();
      return;
    }
    Path home = Path.of("..");
    Accelerator accelerator =
        Accelerator.of(home.resolve("models/emoji-64"))
            .data(home.resolve("data/emoji-64"))
            .train(
                TrainOptions.DEFAULTS.with(
                    t -> t.steps(2).batch(Integer.parseInt(args[1])).compute(Compute.F32)))
            .out(Path.of(args[0]));
    long planned = accelerator.memory().bytes();
    accelerator.run();
    System.out.println(planned + " " + Memory.peak());
  }

  /** One step of factors of Stable Diffusion 1 at half its width, blocks computed twice. */
  private static void lora() throws IOException {
    try (Rng rng = Rng.seeded(0);
        DiffusionModel whole =
            DiffusionModel.randomReaders(Family.SD1, DType.F32, rng, Device.CPU)) {
      ObjectNode half = whole.unet().config().toJson();
      half.set("block_out_channels", Json.MAPPER.valueToTree(new int[] {160, 320, 640, 640}));
      DiffusionModel model = whole.withUnet(new UNet2DConditionModel(UNetConfig.of(half)));
      Benchmark.Measured measured =
          Benchmark.of(256)
              .withTrain(true)
              .withSolvingSteps(1)
              .withCompute(Compute.F32)
              .withLora(LoraOptions.DEFAULTS.withLoraRank(32))
              .measure("half", model, rng);
      System.out.println(1e9 * measured.planGigabytes() + " " + 1e9 * measured.trainGigabytes());
      model.unet().close();
    }
  }
}
