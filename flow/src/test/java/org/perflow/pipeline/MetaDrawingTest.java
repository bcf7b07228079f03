package org.perflow.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Golden;
import org.perflow.flow.Guidance;
import org.perflow.flow.Network;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TeacherSolver;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.sampler.PerflowScheduler;
import org.perflow.flow.sampler.Sampling;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.models.ControlNetModel;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.UNetConfig;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;

/**
 * All of drawing on libtorch's device without data, up to the picture's way to the host: it refuses
 * tensors of the CPU among its own and every read of a value.
 */
class MetaDrawingTest {
  private static final Device META = Device.META;
  private static final List<String> SAMPLERS = SchedulerConfig.NAMES;

  private static final Network NETWORK =
      told -> (z, timesteps) -> z.mul(told.text().mean()).mul(0.1);

  private static Conditioning told(long rows) {
    return Conditioning.of(Tensor.zeros(DType.F32, META, rows, 77, 8));
  }

  /** Plainly, guided, from the middle and, where it does that, with thresholding. */
  @ParameterizedTest
  @FieldSource("SAMPLERS")
  void samplersRunThere(String name) throws IOException {
    ObjectNode base = SchedulerConfig.named("ddim").put("beta_schedule", "scaled_linear");
    ObjectNode perflow =
        PerflowScheduler.config(base, new TimeWindows(4), Parameterization.DDIM_EPS, false);
    ObjectNode config =
        switch (name) {
          case "perflow" -> perflow;
          case "flow-euler" -> SchedulerConfig.named(name);
          default -> Schedulers.config(name, base);
        };
    sample(config);
    if (SchedulerConfig.of(config).has("thresholding")) {
      sample(config.put("thresholding", true));
    }
    if (SchedulerConfig.of(config).has("clip_sample")) {
      sample(config.put("thresholding", false).put("clip_sample", true));
    }
  }

  private static void sample(ObjectNode config) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        SeededNoise noise = new SeededNoise(1, 2);
        Scheduler scheduler = Schedulers.create(config, 8)) {
      Tensor start = noise.draw(4, 8, 8).to(META);
      Sampling sampling = new Sampling(scheduler, NETWORK, told(2), told(1), 7.5);
      assertThat(sampling.fromNoise(start, noise)).allMatch(z -> z.device().equals(META));
      Tensor middle = scheduler.addNoise(start, noise.like(start), 4);
      assertThat(sampling.run(middle, 4, noise, (i, z) -> z))
          .allMatch(z -> z.device().equals(META));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"DDIM", "HEUN", "DPMPP_2M", "DEIS_2"})
  void solversRunThere(String method) {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0)) {
      Tensor z = Tensor.randn(rng, 2, 4, 8, 8).to(META);
      PfOdeSolver solver =
          new PfOdeSolver(
              NoiseSchedule.stableDiffusion(),
              PredictionType.EPSILON,
              TeacherSolver.valueOf(method),
              4);
      Tensor end =
          solver.solve(NETWORK.given(told(2)), z, new TimeWindows(4), new double[] {1, 0.4});
      assertThat(end.device()).isEqualTo(META);
    }
  }

  /** Both families, in both half types, with and without guidance. */
  @ParameterizedTest
  @CsvSource({"sd15,F32", "sd15,BF16", "sd15,F16", "sdxl,F32", "sdxl,F16"})
  void picturesAreDrawnThere(String folder, DType type) throws IOException {
    try (DiffusionModel model = DiffusionModel.load(Golden.MODELS.resolve(folder), type, META)) {
      Pipeline pipeline = new Pipeline(model);
      Request request = Request.of("a (red:1.3) apple").withSteps(2).withLongPrompts(true);
      draw(pipeline, request);
      draw(pipeline, request.withGuidance(Guidance.parse("7.5-1")).withGuidanceRescale(0.5));
      draw(pipeline, request.withNegativePrompt("dog").withClipSkip(1).withGuidance(3));
      draw(pipeline.withScheduler("euler-a"), request);
    }
  }

  private static void draw(Pipeline pipeline, Request request) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      List<Request> two = List.of(request, request.withPrompt("a cat").withSeed(3));
      Tensor latents = pipeline.sample(two, StepListener.NONE).latents();
      assertThat(latents.device()).isEqualTo(META);
      DiffusionModel model = pipeline.model();
      for (boolean tiling : new boolean[] {false, true}) {
        Tensor pictures = new VaeCodec(model.vae(), DType.F32, tiling).decode(latents);
        assertThat(pictures.device()).isEqualTo(META);
      }
    }
  }

  /**
   * A part's first weight is looked at when it is copied there, and between steps: no other part is
   * there then, but for readers of captions, which are one. Afterwards all are back, with their
   * values.
   */
  @ParameterizedTest
  @ValueSource(strings = {"sd15", "sdxl"})
  void offloadedPartsComeInTurnAndGo(String folder) throws IOException {
    BufferedImage picture = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
    try (DiffusionModel model =
            DiffusionModel.load(Golden.MODELS.resolve(folder), DType.F32).pack();
        Scope scope = Scope.open()) {
      Pipeline host = new Pipeline(model);
      Request request = Request.of("a cat").withSteps(3).withGuidance(3).withImage(picture, 0.7);
      float[] before = host.generate(request).latents().toFloatArray();
      Map<String, Module> parts = new LinkedHashMap<>();
      parts.put("vae", model.vae());
      parts.put("text", model.textEncoder());
      parts.put("unet", model.unet());
      List<String> seen = new ArrayList<>();
      Supplier<String> there =
          () ->
              parts.keySet().stream()
                  .filter(name -> parts.get(name).device().equals(META))
                  .collect(Collectors.joining(" "));
      List<Parameter> first = new ArrayList<>();
      parts.forEach(
          (name, part) -> {
            Parameter weight = part.namedParameters().values().iterator().next();
            weight.adapt(
                stored -> {
                  seen.add(name + " comes to " + there.get());
                  return stored;
                });
            first.add(weight);
          });
      Pipeline offloaded = host.withOffload(META).withScheduler("euler-a");
      Tensor latents =
          offloaded
              .sample(List.of(request), (done, steps, z) -> seen.add(there.get() + " " + done))
              .latents();
      assertThat(latents.device()).isEqualTo(META);
      assertThatThrownBy(() -> offloaded.decode(latents)).isInstanceOf(RuntimeException.class);
      first.forEach(Parameter::restore);

      assertThat(seen)
          .containsExactly(
              "vae comes to ",
              "text comes to ",
              "unet comes to ",
              "unet 1",
              "unet 2",
              "vae comes to ");
      assertThat(there.get()).isEmpty();
      assertThat(host.generate(request).latents().toFloatArray()).isEqualTo(before);
      assertThat(host.withOffload(Device.CPU).generate(request).latents().toFloatArray())
          .isEqualTo(before);
    }
  }

  @Test
  void whatIsThereIsNotOffloaded() throws IOException {
    try (DiffusionModel model =
        DiffusionModel.load(Golden.MODELS.resolve("sd15"), DType.F32, META)) {
      assertThatThrownBy(() -> new Pipeline(model).withOffload(META))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("the model is on meta; load it on the CPU");
    }
  }

  @Test
  void otherPicturesAreFollowedThere() throws IOException {
    BufferedImage picture = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
    try (DiffusionModel model =
            DiffusionModel.load(Golden.MODELS.resolve("sd15"), DType.F32, META);
        ControlNetModel net =
            ControlNetModel.load(Golden.MODELS.resolve("controlnet-sd15"), DType.F32)) {
      net.to(META);
      Pipeline pipeline = new Pipeline(model);
      Request request = Request.of("a cat").withSteps(3);
      draw(pipeline, request.withImage(picture, 0.7));
      draw(pipeline, request.withImage(picture, 0.7).withMask(picture));
      draw(pipeline, request.withImage(picture, 1).withMask(picture));
      draw(pipeline, request.withControls(Control.of(net, picture).withScale(0.5)));
    }
  }

  /** ControlNets come with the U-Net, one that is used twice once. */
  @Test
  void controlNetsAreOffloadedWithTheDenoiser() throws IOException {
    BufferedImage picture = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
    try (DiffusionModel model = DiffusionModel.load(Golden.MODELS.resolve("sd15"), DType.F32);
        ControlNetModel net =
            ControlNetModel.load(Golden.MODELS.resolve("controlnet-sd15"), DType.F32);
        Scope scope = Scope.open()) {
      Control control = Control.of(net, picture);
      Request request = Request.of("a cat").withSteps(3).withControls(control, control);
      List<Device> devices = new ArrayList<>();
      new Pipeline(model)
          .withOffload(META)
          .sample(List.of(request), (done, steps, z) -> devices.add(net.device()));
      assertThat(devices).containsOnly(META).hasSize(3);
      assertThat(net.device()).isEqualTo(Device.CPU);
    }
  }

  /** A U-Net that is shown the mask beside the latents. */
  @Test
  void masksAreReadThere() throws IOException {
    BufferedImage picture = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
    Path folder = Golden.MODELS.resolve("sd15");
    try (DiffusionModel model = DiffusionModel.load(folder, DType.F32, META);
        Rng rng = Rng.seeded(0)) {
      UNetConfig config = model.unet().config();
      ObjectNode wider = ((ObjectNode) config.toJson()).put("in_channels", 9);
      try (UNet2DConditionModel unet = new UNet2DConditionModel(UNetConfig.of(wider))) {
        unet.to(META);
        unet.initialise(rng, DType.F32);
        Pipeline pipeline = new Pipeline(model.withUnet(unet));
        Request request = Request.of("a cat").withSteps(3);
        draw(pipeline, request.withImage(picture, 0.7).withMask(picture));
      }
    }
  }
}
