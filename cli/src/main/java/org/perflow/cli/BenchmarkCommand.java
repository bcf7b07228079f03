package org.perflow.cli;

import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.accelerate.Benchmark;
import org.perflow.cli.options.ComputeOption;
import org.perflow.io.WeightsKind.Family;
import org.perflow.tensor.Device;
import org.perflow.tensor.optim.Moments;
import org.perflow.train.LoraOptions;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code perflow benchmark}. */
@Command(
    name = "benchmark",
    description =
        "Measures seconds and peak memory of a model, without a download where it is one of a"
            + " published size with random weights: a picture in four steps, or with --train one"
            + " training step on one picture, beside what the plan of memory says. --train keeps a"
            + " teacher in float16, float32 weights, gradients, averages and moments (22 bytes a"
            + " weight of the U-Net) and uses gradient checkpointing; --moments int8 and"
            + " --lora-rank take less.",
    footer = {
      "",
      "Examples:",
      "  perflow benchmark sd1 --train",
      "  perflow benchmark sd1 --train --lora-rank 32",
      "  perflow benchmark sdxl --size 512 --dtype bfloat16",
      "  perflow benchmark models/emoji-64 --size 64 --threads 1"
    })
final class BenchmarkCommand extends Verb {
  @Parameters(
      paramLabel = "MODEL",
      description =
          "sd1, sd2 or sdxl, of random weights; or the folder, file or name on the hub of a model.")
  String model;

  @Option(
      names = "--size",
      defaultValue = "512",
      paramLabel = "N",
      description = "Pixels of a side (default: ${DEFAULT-VALUE}).")
  int size;

  @Option(names = "--train", description = "Take a training step instead.")
  boolean train;

  @Option(
      names = "--solving-steps",
      defaultValue = "8",
      paramLabel = "N",
      description = "Steps of the teacher in the training step (default: ${DEFAULT-VALUE}).")
  int solvingSteps;

  @Option(
      names = "--moments",
      defaultValue = "float32",
      paramLabel = "TYPE",
      description =
          "How AdamW keeps its averages: float32, bfloat16 or int8 (default: ${DEFAULT-VALUE}).")
  Moments moments;

  @Option(
      names = "--lora-rank",
      defaultValue = "0",
      paramLabel = "N",
      description =
          "Train low-rank factors of that rank; 0 for all weights (default: ${DEFAULT-VALUE}).")
  int loraRank;

  @Mixin ComputeOption compute;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Threads to compute with (default: a core each).")
  @Nullable Integer threads;

  @Override
  void run() throws Exception {
    if (threads != null) {
      Device.threads(threads);
    }
    Benchmark benchmark =
        Benchmark.of(size)
            .with(
                b ->
                    b.train(train)
                        .solvingSteps(solvingSteps)
                        .compute(compute.chosen())
                        .device(compute.device())
                        .moments(moments)
                        .lora(LoraOptions.DEFAULTS.withLoraRank(loraRank)));
    Optional<Family> family =
        Stream.of(Family.values())
            .filter(known -> known.name().equalsIgnoreCase(model))
            .findFirst();
    Benchmark.Measured measured =
        family.isPresent() ? benchmark.run(family.get()) : benchmark.run(fetch(model));
    report(measured, text(measured));
  }

  private static String text(Benchmark.Measured m) {
    String model = "%s, %,d weights, %s".formatted(m.model(), m.unetWeights(), m.dtype());
    Benchmark.Sampled sampled = m.sample();
    if (sampled == null) {
      return "%s: a training step at %d pixels in %.1f s (%.1f of a core), peak %.2f GB (planned: %.2f), loss %.4f"
          .formatted(
              model,
              m.size(),
              m.train().seconds(),
              m.train().coreSeconds(),
              m.trainGigabytes(),
              m.planGigabytes(),
              m.loss());
    }
    return "%s: %d steps at %d pixels in %.1f s (%.1f of a core), peak %.2f GB; %.3f TFLOP/s, %.0f %% of the %.3f that large products reach here"
        .formatted(
            model,
            Benchmark.STEPS,
            m.size(),
            sampled.cost().seconds(),
            sampled.cost().coreSeconds(),
            sampled.gigabytes(),
            sampled.teraflops(),
            100 * sampled.teraflops() / m.limitTeraflops(),
            m.limitTeraflops());
  }
}
