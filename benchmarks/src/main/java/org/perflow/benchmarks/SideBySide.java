package org.perflow.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import org.perflow.io.WeightsKind.Family;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.lora.LoraAdapters;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.pipeline.StepListener;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tape;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.optim.AdamW;
import org.perflow.tensor.optim.FlatParameters;

/**
 * One piece of work, a few times over: prints the seconds of each, then the process's peak memory
 * in megabytes. {@code side_by_side.py} does the same work in PyTorch and diffusers; {@code
 * side-by-side} runs both in turn.
 */
public final class SideBySide {
  private static final double GUIDANCE = 7.5;

  private interface Work {
    void run() throws IOException;
  }

  private final Path model;
  private final DType type;
  private final int repetitions;

  private SideBySide(Path model, DType type, int repetitions) {
    this.model = model;
    this.type = type;
    this.repetitions = repetitions;
  }

  /** WORK MODEL DTYPE REPETITIONS. */
  public static void main(String[] args) throws IOException {
    new SideBySide(Path.of(args[1]), DType.parse(args[2]), Integer.parseInt(args[3])).run(args[0]);
    System.out.printf(Locale.ROOT, "peak %.0f%n", peakMegabytes());
  }

  private void run(String work) throws IOException {
    switch (work) {
      case "first-picture" -> timed(1, () -> draw(1, 4));
      case "emoji-1" -> drawing(1, 50);
      case "emoji-16" -> drawing(16, 25);
      case "emoji-step" -> emojiStep();
      case "emoji-train-32" -> training(32, false);
      case "emoji-train-64" -> training(64, false);
      case "emoji-lora-64" -> training(64, true);
      case "sd1-step" -> sd1Step();
      case "sd1-decode" -> sd1Decode();
      default -> throw new IllegalArgumentException("there is no work called " + work);
    }
  }

  /** The first time prepares caches and is not printed, where there are several. */
  private void timed(int times, Work work) throws IOException {
    for (int i = times == 1 ? 1 : 0; i <= times; i++) {
      long start = System.nanoTime();
      work.run();
      if (i > 0) {
        System.out.printf(Locale.ROOT, "%.5f%n", (System.nanoTime() - start) / 1e9);
      }
    }
  }

  private void draw(int pictures, int steps) throws IOException {
    try (Pipeline pipeline = Pipeline.load(model, type)) {
      draw(pipeline.withScheduler("ddim"), pictures, steps);
    }
  }

  private static void draw(Pipeline pipeline, int pictures, int steps) {
    List<Request> requests =
        IntStream.range(0, pictures)
            .mapToObj(
                seed ->
                    Request.of("red apple").withSteps(steps).withGuidance(GUIDANCE).withSeed(seed))
            .toList();
    pipeline.generate(requests, pictures, StepListener.NONE).close();
  }

  private void drawing(int pictures, int steps) throws IOException {
    try (Pipeline pipeline = Pipeline.load(model, type)) {
      Pipeline ddim = pipeline.withScheduler("ddim");
      timed(repetitions, () -> draw(ddim, pictures, steps));
    }
  }

  private void emojiStep() throws IOException {
    try (UNet2DConditionModel unet = UNet2DConditionModel.load(model.resolve("unet"), type)) {
      unet.pack();
      step(unet, 8, 16);
    }
  }

  private void sd1Step() throws IOException {
    try (Rng rng = Rng.seeded(0);
        DiffusionModel random = DiffusionModel.random(Family.SD1, type, rng)) {
      step(random.pack().unet(), 64, 77);
    }
  }

  /** Guidance's pair. */
  private void step(UNet2DConditionModel unet, long side, long tokens) throws IOException {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(0)) {
      long width = unet.config().crossAttentionDim().get(0);
      Tensor x = Tensor.randn(rng, 2, unet.config().inChannels(), side, side).to(type);
      Tensor text = Tensor.randn(rng, 2, tokens, width).to(type);
      Tensor time = Tensor.full(500, 2);
      timed(
          repetitions,
          () -> {
            try (Scope step = Scope.open()) {
              unet.forward(x, time, text);
            }
          });
    }
  }

  private void sd1Decode() throws IOException {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(0);
        DiffusionModel random = DiffusionModel.random(Family.SD1, type, rng)) {
      Tensor z = Tensor.randn(rng, 1, 4, 64, 64).to(type);
      timed(
          repetitions,
          () -> {
            try (Scope step = Scope.open()) {
              random.pack().vae().decode(z);
            }
          });
    }
  }

  /** Forward, backward, clipping and AdamW on float32 weights. */
  private void training(int batch, boolean lora) throws IOException {
    try (Rng rng = Rng.seeded(0);
        Scope scope = Scope.open();
        UNet2DConditionModel unet = UNet2DConditionModel.load(model.resolve("unet"), DType.F32);
        LoraAdapters adapters = lora ? LoraAdapters.attach(unet, 8, 8, rng) : null;
        FlatParameters weights =
            new FlatParameters(adapters == null ? unet.namedParameters() : adapters.parameters());
        AdamW optimiser = new AdamW(weights, AdamW.Options.DEFAULTS)) {
      Tensor x = Tensor.randn(rng, batch, unet.config().inChannels(), 8, 8);
      Tensor text = Tensor.randn(rng, batch, 16, unet.config().crossAttentionDim().get(0));
      Tensor time = Tensor.generate(batch, i -> i * 7 % 1000);
      timed(
          repetitions,
          () -> {
            weights.zeroGradients();
            try (Scope step = Scope.open();
                Tape tape = Tape.record(weights.way())) {
              Tensor y = unet.forward(x.to(type), time, text.to(type)).to(DType.F32);
              tape.backward(y.sub(x).square().mean());
            }
            weights.clipGradients(1);
            optimiser.step(1e-5);
          });
    }
  }

  private static double peakMegabytes() throws IOException {
    return Files.readAllLines(Path.of("/proc/self/status")).stream()
        .filter(line -> line.startsWith("VmHWM:"))
        .mapToDouble(line -> Double.parseDouble(line.replaceAll("\\D", "")) / 1024)
        .findFirst()
        .orElse(Double.NaN);
  }
}
