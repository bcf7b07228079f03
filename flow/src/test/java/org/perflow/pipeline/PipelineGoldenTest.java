package org.perflow.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.flow.Golden;
import org.perflow.flow.Parameterization;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.sampler.PerflowScheduler;
import org.perflow.io.Images;
import org.perflow.io.SafetensorsFile;
import org.perflow.models.CLIPTextModel;
import org.perflow.models.ControlNetModel;
import org.perflow.models.DiffusionModel;
import org.perflow.models.ModelConversion;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.UNetConfig;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Module;

/** The same prompt and seed make the same picture as diffusers. */
class PipelineGoldenTest {
  private static final Path FOLDER = Golden.FOLDER.resolve("pipelines");
  private static DiffusionModel sd15;
  private static DiffusionModel sdxl;
  private static ControlNetModel control;
  private static BufferedImage init;

  @BeforeAll
  static void load() throws IOException {
    Device.threads(1); // these networks are too small to share out
    sd15 = DiffusionModel.load(Golden.MODELS.resolve("sd15"), DType.F32);
    sdxl = DiffusionModel.load(Golden.MODELS.resolve("sdxl"), DType.F32);
    control = ControlNetModel.load(Golden.MODELS.resolve("controlnet-sd15"), DType.F32);
    init = Images.read(FOLDER.resolve("init.png"));
  }

  @AfterAll
  static void free() {
    sd15.close();
    sdxl.close();
    control.close();
  }

  @Test
  void ddim() throws IOException {
    check("sd15_ddim10", sd15);
  }

  @ParameterizedTest
  @ValueSource(ints = {4, 8})
  void perflow(int steps) throws IOException {
    check("sd15_perflow_ddim_eps_" + steps, perflow(sd15, Parameterization.DDIM_EPS));
    check("sd15_perflow_diff_eps_" + steps, perflow(sd15, Parameterization.DIFF_EPS));
  }

  @Test
  void dpmSolverWithKarrasSigmas() throws IOException {
    ObjectNode config = sd15.schedulerConfig().put("_class_name", "DPMSolverMultistepScheduler");
    check("sd15_dpmpp2mkarras_12", sd15.withScheduler(config.put("use_karras_sigmas", true)));
  }

  @Test
  void xl() throws IOException {
    check("sdxl_euler8", sdxl);
    check("sdxl_no_negative_prompt", sdxl);
    check("sdxl_perflow_ddim_eps_6", perflow(sdxl, Parameterization.DDIM_EPS));
  }

  /** A model in one file under the original names draws what its folder draws, to the bit. */
  @ParameterizedTest
  @ValueSource(strings = {"sd15", "sdxl"})
  void aSingleFileDrawsTheSamePicture(String which, @TempDir Path temp) throws IOException {
    DiffusionModel folder = which.equals("sd15") ? sd15 : sdxl;
    Path file = temp.resolve("model.safetensors");
    ModelConversion.toSingleFile(Golden.MODELS.resolve(which), file, null);
    Request request = Request.of("a red circle").withSteps(3).withSeed(7).withSize(32, 32);
    try (DiffusionModel single = DiffusionModel.load(file, DType.F32);
        Scope scope = Scope.open();
        Pipeline.Result got = new Pipeline(single).generate(request);
        Pipeline.Result want = new Pipeline(folder).generate(request)) {
      assertThat(got.latents().toFloatArray()).isEqualTo(want.latents().toFloatArray());
      assertThat(Images.toTensor(got.pictures().get(0)).toFloatArray())
          .isEqualTo(Images.toTensor(want.pictures().get(0)).toFloatArray());
    }
  }

  /** Latents [0, :, 3, 5] of diffusers 0.40 with {@code guidance_rescale=0.7}. */
  @Test
  void guidanceRescale() {
    Request request =
        Request.of("a red apple")
            .withSteps(5)
            .withGuidance(3)
            .withGuidanceRescale(0.7)
            .withSeed(7)
            .withSize(32, 32);
    checkColumn(sd15, request, 1.41017, -1.54659, -5.54799, -1.68741);
    checkColumn(sdxl, request, -4.93516, -0.16685, -0.30792, -1.34476);
  }

  private static void checkColumn(DiffusionModel model, Request request, double... expected) {
    try (Scope scope = Scope.open();
        Pipeline.Result result = new Pipeline(model).generate(request)) {
      Tensor column = result.latents().select(3, 5).select(2, 3); // [1, C]
      assertThat(column.toDoubleArray()).containsExactly(expected, within(1e-3));
    }
  }

  @Test
  void clipSkip() throws IOException {
    check("clip_skip", sd15);
  }

  @ParameterizedTest
  @CsvSource({"sd15_img2img, sd15", "img2img_heun, sd15", "sdxl_img2img, sdxl"})
  void imageToImage(String name, String which) throws IOException {
    DiffusionModel model = which.equals("sd15") ? sd15 : sdxl;
    Map<String, String> metadata = metadata(name);
    check(name, model, request(metadata).withImage(init, number(metadata, "strength")));
  }

  @ParameterizedTest
  @ValueSource(strings = {"inpaint", "inpaint_euler_ancestral", "inpaint_resized"})
  void inpainting(String name) throws IOException {
    check(name, sd15, masked(metadata(name)));
  }

  @Test
  void inpaintingWithNineChannels() throws IOException {
    try (UNet2DConditionModel wide = nineChannels(sd15.unet())) {
      Map<String, String> metadata = metadata("inpaint_9_channels");
      check("inpaint_9_channels", sd15.withUnet(wide), masked(metadata));
    }
  }

  /** A U-Net that embeds its guidance is told it, and asked once a step (Luo et al. 2023). */
  @Test
  void latentConsistency() throws IOException {
    try (UNet2DConditionModel told = toldGuidance(sd15.unet())) {
      check("lcm", sd15.withUnet(told));
      Request request = request(metadata("lcm"));
      assertThat(evaluations(sd15.withUnet(told), request)).isEqualTo(4);
      assertThat(evaluations(sd15, request)).isEqualTo(8); // guided by two halves
    }
  }

  private static long evaluations(DiffusionModel model, Request request) {
    try (Scope scope = Scope.open();
        Pipeline.Result result = new Pipeline(model).generate(request)) {
      return result.networkEvaluations();
    }
  }

  @Test
  void controlNets() throws IOException {
    Control one = Control.of(control, init);
    Request single = request(metadata("sd15_controlnet"));
    check("sd15_controlnet", sd15, single.withControls(one.withScale(0.8))); // as it was made
    Control early = one.withScale(0.7).between(0, 0.6);
    Control late = Control.of(control, mirrored(init)).withScale(0.4).between(0.3, 1);
    Request request = request(metadata("controlnet_twice"));
    check("controlnet_twice", sd15, request.withControls(early, late));
  }

  /** Velocity, zero terminal signal and trailing steps, linear projections, "!" as padding. */
  @Test
  void stableDiffusion2() throws IOException {
    DiffusionModel model = sd21();
    try (UNet2DConditionModel unet = model.unet();
        CLIPTextModel encoder = model.textEncoder()) {
      check("sd21", model);
      check("sd21_euler", model);
      Map<String, String> metadata = metadata("sd21_img2img");
      check("sd21_img2img", model, request(metadata).withImage(init, number(metadata, "strength")));
    }
  }

  private static void check(String name, DiffusionModel model) throws IOException {
    check(name, model, request(metadata(name)));
  }

  private static void check(String name, DiffusionModel model, Request request) throws IOException {
    DiffusionModel which = model;
    if (metadata(name).containsKey("scheduler")) {
      ObjectNode config = model.schedulerConfig();
      which = model.withScheduler(config.put("_class_name", metadata(name).get("scheduler")));
    }
    try (SafetensorsFile file = open(name);
        Scope scope = Scope.open();
        Pipeline.Result result = new Pipeline(which).generate(request)) {
      assertThat(Golden.error(name, result.latents(), file.read("latents"))).isLessThan(1e-3);
      assertThat(result.warnings()).isEmpty();
      if (file.entries().containsKey("image")) {
        double error = pictureError(result.pictures().get(0), file.read("image"));
        System.out.printf("golden %s picture: %.5f%n", name, error);
        assertThat(error).isLessThanOrEqualTo(2.0 / 255);
      }
    }
  }

  private static Map<String, String> metadata(String name) throws IOException {
    try (SafetensorsFile file = open(name)) {
      return file.metadata();
    }
  }

  private static SafetensorsFile open(String name) throws IOException {
    return SafetensorsFile.open(FOLDER.resolve(name + ".safetensors"));
  }

  private static Request request(Map<String, String> metadata) {
    return Request.of(metadata.get("prompt"))
        .withNegativePrompt(metadata.get("negative_prompt"))
        .withSteps((int) number(metadata, "num_inference_steps"))
        .withGuidance(number(metadata, "guidance_scale"))
        .withSeed((long) number(metadata, "seed"))
        .withSize((int) number(metadata, "width"), (int) number(metadata, "height"))
        .withClipSkip((int) number(metadata, "clip_skip"));
  }

  private static double number(Map<String, String> metadata, String key) {
    return Double.parseDouble(metadata.getOrDefault(key, "0"));
  }

  private static Request masked(Map<String, String> metadata) {
    BufferedImage mask = new BufferedImage(64, 64, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = mask.createGraphics();
    graphics.setColor(Color.WHITE);
    graphics.fillRect(16, 8, 32, 32);
    graphics.dispose();
    return request(metadata).withImage(init, number(metadata, "strength")).withMask(mask);
  }

  private static BufferedImage mirrored(BufferedImage image) {
    BufferedImage mirrored = new BufferedImage(64, 64, BufferedImage.TYPE_INT_RGB);
    for (int y = 0; y < 64; y++) {
      for (int x = 0; x < 64; x++) {
        mirrored.setRGB(63 - x, y, image.getRGB(x, y));
      }
    }
    return mirrored;
  }

  private static DiffusionModel perflow(DiffusionModel model, Parameterization kind) {
    ObjectNode config = model.schedulerConfig();
    return model.withScheduler(PerflowScheduler.config(config, new TimeWindows(4), kind, false));
  }

  /** The same kernels, scaled, for mask and masked picture: as tools/golden_pipelines.py. */
  private static UNet2DConditionModel nineChannels(UNet2DConditionModel unet) {
    UNetConfig config = UNetConfig.of(unet.config().toJson().put("in_channels", 9));
    var from = unet.namedParameters();
    return filled(
        new UNet2DConditionModel(config),
        name -> {
          Tensor w = from.get(name).value();
          return name.equals("conv_in.weight")
              ? Tensor.cat(1, w, w.narrow(1, 0, 1).mul(0.3), w.mul(0.5))
              : w;
        });
  }

  /** The extra layer is made of the time embedding's first: as tools/golden_pipelines.py. */
  private static UNet2DConditionModel toldGuidance(UNet2DConditionModel unet) {
    var from = unet.namedParameters();
    return filled(
        new UNet2DConditionModel(unet.config().withTimeCondProjDim(256)),
        name -> {
          if (!name.equals("time_embedding.cond_proj.weight")) {
            return from.get(name).value();
          }
          Tensor w = from.get("time_embedding.linear_1.weight").value().transpose(0, 1);
          return Tensor.cat(1, w, w.mul(-0.5));
        });
  }

  /**
   * Stable Diffusion 2.1 from the parts that there are: as tools/golden_pipelines.py. Its VAE and
   * tokenizer are XL's.
   */
  private static DiffusionModel sd21() throws IOException {
    DiffusionModel.Second second = Objects.requireNonNull(sdxl.second());
    var encoder = second.textEncoder().namedParameters();
    ObjectNode scheduler = sd15.schedulerConfig().put("prediction_type", "v_prediction");
    scheduler.put("rescale_betas_zero_snr", true).put("timestep_spacing", "trailing");
    Path folder = Golden.MODELS.resolve("sd21-unet");
    try (UNet2DConditionModel whole = UNet2DConditionModel.load(folder, DType.F32)) {
      UNetConfig config = UNetConfig.of(whole.config().toJson().put("cross_attention_dim", 32));
      var from = whole.namedParameters();
      return new DiffusionModel(
          filled(
              new UNet2DConditionModel(config),
              name -> {
                Tensor w = from.get(name).value();
                return name.matches(".*attn2.to_[kv].*") ? w.narrow(1, 0, 32) : w;
              }),
          sdxl.vae(),
          filled(
              new CLIPTextModel(second.textEncoder().config()),
              name -> encoder.get("text_model." + name).value()),
          second.tokenizer(),
          scheduler);
    }
  }

  private static <M extends Module> M filled(M module, Function<String, Tensor> weights) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      module
          .namedParameters()
          .forEach((name, weight) -> weight.value(scope.release(weights.apply(name).copy())));
    }
    return module;
  }

  /** Largest difference of a channel; {@code expected} is [1, H, W, 3] in 0..1. */
  private static double pictureError(BufferedImage picture, Tensor expected) {
    Tensor ours = Images.toTensor(picture).mul(0.5).add(0.5).permute(1, 2, 0).unsqueeze(0);
    return ours.sub(expected).abs().max().item();
  }
}
