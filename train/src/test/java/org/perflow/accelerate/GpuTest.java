package org.perflow.accelerate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;
import static org.junit.jupiter.api.Assumptions.abort;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.distill.Task;
import org.perflow.distill.UnetNet;
import org.perflow.distill.perflow.PerflowObjective;
import org.perflow.distill.perflow.PerflowOptions;
import org.perflow.io.Images;
import org.perflow.io.Installation;
import org.perflow.io.SafetensorsFile;
import org.perflow.models.AddedConditions;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.pipeline.VaeCodec;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tape;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.optim.AdamW;
import org.perflow.tensor.optim.FlatParameters;
import org.perflow.train.CachedExamples;
import org.perflow.train.Catalogue;
import org.perflow.train.Golden;
import org.perflow.train.Objective;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;

/**
 * A GPU computes what the CPU computes, and keeps nothing. Where there is none these are skipped,
 * saying why; not so where {@code -Dperflow.test.device=cuda:1} asks for one, of which {@code cpu}
 * tries the tests themselves. Tolerances are of convolutions in TF32 (ten bits), cuDNN's default.
 */
@Tag("gpu")
class GpuTest {
  private static final Path MODELS = Golden.FOLDER.getParent();
  private static final Path MODULES = MODELS.resolveSibling("modules");
  private static final Path PIPELINES = Path.of("../flow/src/test/resources/golden/pipelines");
  private static Device gpu;
  private static Compute half;
  @TempDir Path temp;

  @BeforeAll
  static void findsIt() {
    String asked = System.getProperty("perflow.test.device");
    try {
      gpu = Device.parse(asked == null ? "cuda" : asked).settled();
    } catch (IllegalArgumentException e) {
      if (asked != null) {
        throw e;
      }
      abort(e.getMessage());
    }
    half = gpu.isCpu() ? Compute.BF16 : Compute.F16;
  }

  @ParameterizedTest
  @ValueSource(strings = {"sd15", "sdxl"})
  void networksEqualTheirReferences(String folder) throws IOException {
    Path file = MODULES.resolve("unet_" + folder + ".safetensors");
    Path weights = MODELS.resolve(folder).resolve("unet");
    try (SafetensorsFile golden = SafetensorsFile.open(file);
        UNet2DConditionModel unet = UNet2DConditionModel.load(weights, DType.F32);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      unet.to(gpu);
      AddedConditions added =
          golden.entries().containsKey("text_embeds")
              ? new AddedConditions(
                  golden.read("text_embeds").to(gpu), golden.read("time_ids").to(gpu))
              : null;
      Tensor output =
          unet.forward(
              golden.read("sample").to(gpu),
              golden.read("timestep"),
              golden.read("encoder_hidden_states").to(gpu),
              added,
              null,
              null);
      assertThat(output.device()).isEqualTo(gpu);
      Golden.assertClose(folder, output.to(Device.CPU), golden.read("output"), 5e-3);
    }
  }

  @ParameterizedTest
  @CsvSource({"sd15, sd15_ddim10", "sdxl, sdxl_euler8"})
  void picturesEqualThoseOfDiffusers(String folder, String name) throws IOException {
    try (SafetensorsFile golden = SafetensorsFile.open(PIPELINES.resolve(name + ".safetensors"));
        Pipeline pipeline = Pipeline.load(MODELS.resolve(folder), DType.F32, gpu);
        Scope scope = Scope.open()) {
      Map<String, String> said = golden.metadata();
      Request request =
          Request.of(said.get("prompt"))
              .withNegativePrompt(said.get("negative_prompt"))
              .withSteps(Integer.parseInt(said.get("num_inference_steps")))
              .withGuidance(Double.parseDouble(said.get("guidance_scale")))
              .withSeed(Long.parseLong(said.get("seed")))
              .withSize(Integer.parseInt(said.get("width")), Integer.parseInt(said.get("height")));
      try (Pipeline.Result result = pipeline.generate(request)) {
        Tensor latents = result.latents().to(Device.CPU);
        Golden.assertClose(name, latents, golden.read("latents"), 2e-2);
      }
    }
  }

  private static Request apple() {
    return Request.of("red apple").withSeed(42);
  }

  /** Mean difference of a colour, of 0 to 1. */
  private static double distance(BufferedImage a, BufferedImage b) {
    try (Scope scope = Scope.open()) {
      return Images.toTensor(a).sub(Images.toTensor(b)).abs().mean().item() / 2;
    }
  }

  @Test
  void aSeedIsThePictureOfTheCpu() throws IOException {
    try (Pipeline here = Pipeline.load(Installation.student(), DType.F32);
        Pipeline there = Pipeline.load(Installation.student(), DType.F32, gpu)) {
      double distance = distance(here.draw(apple()), there.draw(apple()));
      System.out.printf("gpu: a seed's picture is %.1e from the CPU's%n", distance);
      assertThat(distance).isLessThan(0.01);
    }
  }

  @Test
  void offloadingDrawsTheSameAndFreesTheCard() throws IOException {
    try (Pipeline host = Pipeline.load(Installation.student(), DType.F32, Device.CPU)) {
      Pipeline offloaded = host.withOffload(gpu);
      assertThat(distance(host.draw(apple()), offloaded.draw(apple()))).isLessThan(0.01);
      long before = gpu.memory().allocated(); // workspaces of libraries alone
      assertThat(before).isLessThan(bytes(host.model().unet()));
      offloaded.draw(apple());
      assertThat(gpu.memory().allocated()).isEqualTo(before);
      assertThat(host.model().device()).isEqualTo(Device.CPU);
    }
  }

  private static long bytes(Module module) {
    return module.parameterCount() * DType.F32.bytes();
  }

  /** The VAEs of both say that they overflow. */
  @ParameterizedTest
  @ValueSource(strings = {"sd15", "sdxl"})
  void drawsInHalfPrecisionAndDecodesInFloat32(String folder) throws IOException {
    DType type = half.dtype(gpu);
    Request request = apple().withSteps(4).withGuidance(2);
    try (Pipeline full = Pipeline.load(MODELS.resolve(folder), DType.F32);
        Pipeline small = Pipeline.load(MODELS.resolve(folder), type, gpu);
        Scope scope = Scope.open();
        Pipeline.Result want = full.generate(request);
        Pipeline.Result got = small.generate(request)) {
      Tensor latents = got.latents().to(Device.CPU);
      Golden.assertClose(folder + " in " + type, latents, want.latents(), 0.1);
      VaeCodec codec = new VaeCodec(small.model().vae(), type, false);
      assertThat(codec.vae().config().forceUpcast()).isTrue();
      assertThat(codec.decode(got.latents()).dtype()).isEqualTo(DType.F32);
    }
  }

  /** A small teacher, its student, and pictures, on a device. */
  private final class Lesson implements AutoCloseable {
    private final DiffusionModel teacher = DiffusionModel.load(Golden.FOLDER, DType.F32);
    private final UNet2DConditionModel student = new UNet2DConditionModel(teacher.unet().config());
    private final CachedExamples data;
    private final PerflowObjective objective;

    Lesson(Device device, DType type) throws IOException {
      student.copyFrom(teacher.unet(), DType.F32);
      Path folder = Files.createTempDirectory(temp, "lesson");
      Path shard = Golden.shard(folder.resolve("train-0.tar"));
      data =
          CachedExamples.of(
              teacher, Catalogue.of(List.of(shard)), folder.resolve("cache"), type, 0);
      teacher.to(device);
      student.to(device);
      data.to(device);
      Task task =
          new Task(
              data,
              new Task.Teacher(UnetNet.of(teacher.unet(), type, null), teacher.schedulerConfig()),
              UnetNet.of(student, type, null),
              false,
              TrainOptions.DEFAULTS.withDevice(device),
              temp);
      objective = new PerflowObjective(task, PerflowOptions.DEFAULTS.withSolvingSteps(2));
    }

    @Override
    public void close() {
      objective.close();
      data.close();
      student.close();
      teacher.close();
    }
  }

  @Test
  void trainingStepsEqualTheCpus() throws IOException {
    double[] here = steps(Device.CPU);
    double[] there = steps(gpu);
    for (int i = 0; i < here.length; i++) {
      System.out.printf("gpu: step %d, loss %.6f, on the CPU %.6f%n", i, there[i], here[i]);
      assertThat(there[i]).isCloseTo(here[i], withinPercentage(2));
    }
    assertThat(here[0]).isNotCloseTo(here[1], within(1e-6));
  }

  /** Losses of two steps on the same pictures. */
  private double[] steps(Device device) throws IOException {
    double[] losses = new double[2];
    try (Lesson lesson = new Lesson(device, DType.F32);
        FlatParameters weights = new FlatParameters(lesson.objective.parameters());
        AdamW optimiser = new AdamW(weights, AdamW.Options.DEFAULTS)) {
      for (int i = 0; i < losses.length; i++) {
        weights.zeroGradients();
        try (Rng rng = Rng.seeded(0);
            Scope scope = Scope.open();
            Tape tape = Tape.record(weights.way())) {
          Tensor loss = lesson.objective.loss(new Objective.Step(0, 0, new long[] {0, 1, 2}, rng));
          tape.backward(loss);
          losses[i] = loss.item();
          weights.clipGradients(1);
        }
        optimiser.step(1e-3);
      }
    }
    return losses;
  }

  /** In float16 with a scaled loss, on a GPU. */
  @Test
  void aThousandStepsKeepNothing() throws IOException {
    List<Double> losses = new ArrayList<>();
    List<Long> objects = new ArrayList<>();
    List<Long> onDevice = new ArrayList<>();
    List<Long> onHost = new ArrayList<>();
    TrainOptions options =
        TrainOptions.DEFAULTS.with(
            t -> t.device(gpu).compute(half).steps(1000).batch(2).logEvery(100).checkpointEvery(0));
    try (Lesson lesson = new Lesson(gpu, half.dtype(gpu));
        Trainer trainer = new Trainer(lesson.objective, options, temp.resolve("run"))) {
      trainer.listen(
          new TrainListener() {
            @Override
            public void onStep(Report report) {
              losses.add(report.loss());
              objects.add(Scope.liveObjects());
              onDevice.add(gpu.memory().allocated());
              onHost.add(Scope.physicalBytes());
            }
          });
      trainer.run();
    }
    int last = losses.size() - 1;
    System.out.printf(
        "gpu: host memory after each 100 steps, MB: %s%n",
        onHost.stream().map(bytes -> bytes >> 20).toList());
    assertThat(losses).hasSize(10).allSatisfy(loss -> assertThat(loss).isFinite());
    assertThat(objects.get(last)).isLessThanOrEqualTo(objects.get(1) + 20);
    assertThat(onDevice.get(last)).isLessThanOrEqualTo(onDevice.get(1) + (1 << 20));
    // The first half is Java's heap growing.
    assertThat(onHost.get(last) - onHost.get(last / 2)).isLessThan(64L << 20);
  }
}
