package org.perflow.accelerate;

import java.nio.file.Path;
import org.perflow.memory.Memory;
import org.perflow.tensor.Compute;
import org.perflow.train.TrainOptions;

/** Two steps of a training, in a process of its own: prints what was planned and the peak. */
final class PeakProgram {
  private PeakProgram() {}

  public static void main(String[] args) throws Exception {
    Path home = Path.of("..");
    Accelerator accelerator =
        Accelerator.of(home.resolve("models/emoji-64"))
            .data(home.resolve("data/emoji-64"))
            .train(
                TrainOptions.DEFAULTS.with(
                    t ->
                        t.steps(2)
                            .batch(Integer.parseInt(args[1]))
                            .compute(Compute.F32)
                            .gradientCheckpointing(Boolean.parseBoolean(args[2]))))
            .out(Path.of(args[0]));
    long planned = accelerator.memory().bytes();
    accelerator.run();
    System.out.println(planned + " " + Memory.peak());
  }
}
