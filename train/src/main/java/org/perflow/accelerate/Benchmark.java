package org.perflow.accelerate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.management.OperatingSystemMXBean;
import io.soabase.recordbuilder.core.RecordBuilder;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Net;
import org.perflow.distill.StudentWriter;
import org.perflow.distill.Task;
import org.perflow.distill.UnetNet;
import org.perflow.distill.perflow.PerflowMethod;
import org.perflow.distill.perflow.PerflowObjective;
import org.perflow.distill.perflow.PerflowOptions;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PredictionType;
import org.perflow.io.AtomicFiles;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardWriter;
import org.perflow.io.WeightsKind.Family;
import org.perflow.memory.Memory;
import org.perflow.memory.Planner;
import org.perflow.memory.Workload;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.lora.LoraAdapters;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Flops;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tape;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.optim.AdamW;
import org.perflow.tensor.optim.Ema;
import org.perflow.tensor.optim.FlatParameters;
import org.perflow.tensor.optim.Moments;
import org.perflow.train.CachedExamples;
import org.perflow.train.Catalogue;
import org.perflow.train.LoraOptions;
import org.perflow.train.Objective;
import org.perflow.train.TrainOptions;

/**
 * Seconds and peak memory of a model, one of a folder or one of its published size with random
 * weights, so without a download: a picture in {@value #STEPS} steps from caption to pixels or one
 * training step of PeRFlow on one picture, as {@link Accelerator} takes it with little memory: with
 * a teacher in float16, float32 weights and gradients, averaged weights and activations that are
 * computed twice; or of low-rank factors alone, above the teacher's own weights.
 *
 * <pre>{@code
 * Benchmark.Measured measured = Benchmark.of(512).run(WeightsKind.Family.SD1);
 * double seconds = measured.sample().cost().seconds();
 * }</pre>
 *
 * @param size pixels of a side
 * @param train whether a training step is taken instead
 * @param solvingSteps steps of the teacher in it
 * @param compute element type of all networks
 * @param device where they are
 * @param moments how AdamW's averages are kept
 * @param lora whether low-rank factors are trained
 */
@RecordBuilder
public record Benchmark(
    int size,
    boolean train,
    int solvingSteps,
    Compute compute,
    Device device,
    Moments moments,
    LoraOptions lora)
    implements BenchmarkBuilder.With {
  /** Sampling steps. */
  public static final int STEPS = 4;

  private static final String CAPTION = "a photo of a red apple on a table";

  /** A picture of that size, without a training step. */
  public static Benchmark of(int size) {
    return new Benchmark(
        size, false, 8, Compute.AUTO, Device.AUTO, Moments.FLOAT32, LoraOptions.DEFAULTS);
  }

  /** Refuses what no model is drawn with. */
  public Benchmark {
    if (size < 8 || size > 4096 || size % 8 != 0) {
      throw new IllegalArgumentException(
          "size must be a multiple of 8 from 8 to 4096; got " + size);
    }
    if (solvingSteps < 1 || solvingSteps > 1000) {
      throw new IllegalArgumentException("solvingSteps must be 1 to 1000; got " + solvingSteps);
    }
  }

  /** Measures a model of that family, made for the purpose. */
  public Measured run(Family family) throws IOException {
    try (Rng rng = Rng.seeded(0);
        DiffusionModel model =
            train
                ? DiffusionModel.randomReaders(family, DType.F32, rng, device)
                : DiffusionModel.random(family, kept(), rng, device)) {
      return measure(family.name(), model, rng);
    }
  }

  /** Measures the model of a folder or of a single file. */
  public Measured run(Path folder) throws IOException {
    try (Rng rng = Rng.seeded(0);
        DiffusionModel model = DiffusionModel.load(folder, kept(), device.settled())) {
      return measure(folder.toAbsolutePath().normalize().getFileName().toString(), model, rng);
    }
  }

  private DType kept() {
    return train ? DType.F32 : type();
  }

  /**
   * Draws with {@code model} or trains it, which frees what only drawing needs: one of the two, as
   * the peak is a process's. On a GPU a first time, when libraries are loaded and kernels chosen,
   * is not measured. The model stays the caller's to close.
   *
   * @param name of the model, to be told in the result
   */
  public Measured measure(String name, DiffusionModel model, Rng rng) throws IOException {
    double limit = Flops.limit(type(), device.settled()) / 1e12;
    return train
        ? trained(name, model, rng, limit)
        : new Measured(
            name,
            compute.settled(device).torchName(),
            model.unet().parameterCount(),
            size,
            sample(model),
            limit,
            null,
            null,
            null,
            null);
  }

  private DType type() {
    return compute.dtype(device);
  }

  /** How long something took: on the clock, and in seconds of one core, which load changes less. */
  public record Cost(double seconds, double coreSeconds) {}

  private Cost now() {
    device.settled().synchronize();
    double cores =
        ManagementFactory.getOperatingSystemMXBean() instanceof OperatingSystemMXBean system
            ? system.getProcessCpuTime() / 1e9
            : Double.NaN;
    return new Cost(System.nanoTime() / 1e9, cores);
  }

  private Cost since(Cost start) {
    Cost end = now();
    return new Cost(end.seconds - start.seconds, end.coreSeconds - start.coreSeconds);
  }

  /**
   * From caption to picture.
   *
   * @param gigabytes the peak until then, of the GPU or, on the CPU, of the process; 0 where
   *     nothing tells
   * @param teraflops operations a second, in 10¹²
   */
  public record Sampled(Cost cost, double gigabytes, double teraflops) {}

  /**
   * What was measured.
   *
   * @param model family, or name of the folder
   * @param sample null where a training step was measured instead
   * @param limitTeraflops what a product of large matrices reaches on this machine
   * @param trainGigabytes the peak, of the GPU or, on the CPU, of the process
   * @param planGigabytes what {@link Planner} says that it would be
   */
  public record Measured(
      String model,
      String dtype,
      long unetWeights,
      int size,
      @Nullable Sampled sample,
      double limitTeraflops,
      @Nullable Cost train,
      @Nullable Double trainGigabytes,
      @Nullable Double planGigabytes,
      @Nullable Double loss) {}

  private PerflowOptions options(ObjectNode scheduler) {
    return PerflowOptions.DEFAULTS
        .withSolvingSteps(solvingSteps)
        .withParameterization(Parameterization.natural(PredictionType.of(scheduler)));
  }

  /** From caption to picture. */
  private Sampled sample(DiffusionModel model) throws IOException {
    DiffusionModel student =
        StudentWriter.student(
            model,
            model.unet(),
            PerflowMethod.MEASURED.scheduler(
                model.schedulerConfig(), options(model.schedulerConfig())));
    Pipeline pipeline = new Pipeline(student.pack(), type());
    Request request = Request.of(CAPTION).withSteps(STEPS).withGuidance(1).withSize(size, size);
    if (!device.settled().isCpu()) {
      pipeline.draw(request);
    }
    Cost start = now();
    long operations = Flops.of(() -> pipeline.draw(request));
    Cost cost = since(start);
    return new Sampled(cost, peak(), operations / cost.seconds() / 1e12);
  }

  private double peak() throws IOException {
    long ofGpu = device.settled().memory().peak();
    return (ofGpu > 0 ? ofGpu : Memory.peak()) / 1e9;
  }

  private Measured trained(String name, DiffusionModel model, Rng rng, double limit)
      throws IOException {
    ObjectNode scheduler = model.schedulerConfig();
    long weights = model.unet().parameterCount();
    Path folder = Files.createTempDirectory("perflow-benchmark");
    Catalogue data = Catalogue.of(List.of(shard(folder)));
    TrainOptions options =
        TrainOptions.DEFAULTS.with(
            t ->
                t.batch(1)
                    .compute(compute)
                    .device(device)
                    .gradientCheckpointing(true)
                    .moments(moments));
    try (UNet2DConditionModel frozen = new UNet2DConditionModel(model.unet().config());
        CachedExamples examples = cached(model, data, folder, rng);
        LoraAdapters adapters = teacherBelow(model.unet(), frozen, rng)) {
      Net network = UnetNet.of(model.unet(), type(), adapters);
      var teacher = new Task.Teacher(UnetNet.of(frozen, type(), null), scheduler);
      Task task = new Task(examples, teacher, network, false, options, folder);
      try (PerflowObjective objective = new PerflowObjective(task, options(scheduler));
          FlatParameters masters = new FlatParameters(objective.parameters());
          AdamW optimiser = new AdamW(masters, AdamW.Options.DEFAULTS, moments);
          Ema ema = new Ema(masters, options.ema())) {
        var step = new Objective.Step(0, 0, new long[] {0}, rng);
        Cost start = now();
        double loss = Double.NaN;
        for (int again = device.settled().isCpu() ? 0 : 1; again >= 0; again--) {
          start = now();
          masters.zeroGradients();
          loss = backward(objective, step);
          try (Scope scope = Scope.open()) {
            masters.clipGradients(1);
          }
          optimiser.step(1e-5);
          ema.update();
        }
        return new Measured(
            name,
            compute.settled(device).torchName(),
            weights,
            size,
            null,
            limit,
            since(start),
            peak(),
            planned(model, data, options),
            loss);
      }
    } finally {
      AtomicFiles.deleteDirectory(folder);
    }
  }

  /** As a run does it: the U-Net comes when the readers of pictures and captions are gone. */
  private CachedExamples cached(DiffusionModel model, Catalogue data, Path folder, Rng rng)
      throws IOException {
    model.unet().close();
    CachedExamples examples = CachedExamples.of(model, data, folder, type(), 0);
    model.closeReaders();
    model.unet().initialise(rng, DType.F32);
    return examples;
  }

  /** Fills {@code frozen}: with a copy in float16, or with what the factors are laid over. */
  private @Nullable LoraAdapters teacherBelow(
      UNet2DConditionModel student, UNet2DConditionModel frozen, Rng rng) {
    if (!lora.lowRank()) {
      frozen.copyFrom(student, DType.F16);
      return null;
    }
    frozen.share(student);
    return LoraAdapters.attach(student, lora.loraRank(), lora.alpha(), rng);
  }

  private double planned(DiffusionModel model, Catalogue data, TrainOptions options) {
    Workload work = Workload.of(model, data, options, lora);
    return Planner.plan(lora.lowRank() ? work : work.withTeacher(DType.F16)).bytes() / 1e9;
  }

  private static double backward(Objective objective, Objective.Step step) {
    try (Scope scope = Scope.open();
        Tape tape = Tape.record(Tape.Way.RECOMPUTED)) {
      Tensor loss = objective.loss(step);
      tape.backward(loss);
      return loss.item();
    }
  }

  private Path shard(Path folder) throws IOException {
    Path shard = folder.resolve("train-0.tar");
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(new BufferedImage(size, size, BufferedImage.TYPE_INT_RGB), "png", png);
    try (ShardWriter writer = new ShardWriter(shard)) {
      ObjectNode none = Json.MAPPER.createObjectNode();
      writer.write(new Sample("", "p0", png.toByteArray(), CAPTION, none));
      writer.finish();
    }
    return shard;
  }
}
