package org.perflow.flow;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.flow.TextToImage.Request;
import org.perflow.flow.TextToImage.Result;
import org.perflow.io.Images;
import org.perflow.io.SafetensorsFile;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class TextToImageTest {
  private static DiffusionModel model;

  @BeforeAll
  static void load() throws IOException {
    Device.threads(1); // these networks are too small to share out
    model = DiffusionModel.load(Golden.MODELS.resolve("sd15"), DType.F32);
  }

  @AfterAll
  static void free() {
    model.close();
  }

  private static DiffusionModel student(String kind) {
    ObjectNode config =
        PerflowScheduler.config(
            model.schedulerConfig(), new TimeWindows(4), Parameterization.parse(kind), false);
    return model.withScheduler(config);
  }

  @ParameterizedTest
  @CsvSource({
    "sd15_ddim10, teacher",
    "sd15_perflow_ddim_eps_4, ddim_eps",
    "sd15_perflow_ddim_eps_8, ddim_eps",
    "sd15_perflow_diff_eps_4, diff_eps",
    "sd15_perflow_diff_eps_8, diff_eps"
  })
  void wholeRuns(String name, String kind) throws IOException {
    DiffusionModel which = kind.equals("teacher") ? model : student(kind);
    try (SafetensorsFile file =
            SafetensorsFile.open(Golden.FOLDER.resolve("pipelines/" + name + ".safetensors"));
        Scope scope = Scope.open();
        Result result = new TextToImage(which).generate(request(file.metadata()))) {
      assertThat(Golden.error(name, result.latents(), file.read("latents"))).isLessThan(1e-3);
      assertThat(result.warnings()).isEmpty();
      assertThat(pictureError(result.pictures().get(0), file.read("image")))
          .isLessThanOrEqualTo(2.0 / 255);
    }
  }

  private static Request request(Map<String, String> metadata) {
    return new Request(
        metadata.get("prompt"),
        metadata.get("negative_prompt"),
        Integer.parseInt(metadata.get("num_inference_steps")),
        Double.parseDouble(metadata.get("guidance_scale")),
        Long.parseLong(metadata.get("seed")),
        Integer.parseInt(metadata.get("width")),
        Integer.parseInt(metadata.get("height")));
  }

  /** Largest difference of a channel; {@code expected} is [1, H, W, 3] in 0..1. */
  private static double pictureError(BufferedImage picture, Tensor expected) {
    Tensor ours = Images.toTensor(picture).mul(0.5).add(0.5).permute(1, 2, 0).unsqueeze(0);
    return ours.sub(expected).abs().max().item();
  }

  @Test
  void picturesDoNotDependOnTheBatch() {
    TextToImage pipeline = new TextToImage(student("ddim_eps"));
    List<Request> requests = new ArrayList<>(Request.of("a red apple").withSeed(7).repeat(2));
    requests.add(Request.of("a cat").withNegativePrompt("dog").withSeed(3));
    List<Integer> steps = new ArrayList<>();
    try (Scope scope = Scope.open();
        Result together =
            pipeline.generate(requests, 2, (done, total, z) -> steps.add(100 * done + total))) {
      assertThat(steps).containsExactly(108, 208, 308, 408, 508, 608, 708, 808);
      assertThat(together.networkEvaluations()).isEqualTo(8);
      assertThat(together.pictures()).hasSize(3);
      for (int i = 0; i < 3; i++) {
        try (Result alone = pipeline.generate(requests.get(i))) {
          assertThat(
                  Golden.error(
                      "batch row " + i, together.latents().narrow(0, i, 1), alone.latents()))
              .isLessThan(1e-5);
        }
      }
    }
  }

  @Test
  void noiseOfAPictureIsPyTorchs() { // torch.randn(2, 2, generator=manual_seed(42))
    try (Scope scope = Scope.open()) {
      assertThat(TextToImage.noise(new long[] {0, 42}, 2, 2).select(0, 1).toFloatArray())
          .containsExactly(new float[] {0.3367f, 0.1288f, 0.2345f, 0.2303f}, within(5e-5f));
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, 1})
  void withoutGuidanceTheNegativePromptIsNotRead(double guidance) {
    TextToImage pipeline = new TextToImage(student("ddim_eps"));
    Request request = Request.of("a cat").withGuidance(guidance).withSize(32, 32);
    try (Result plain = pipeline.generate(request);
        Result negative = pipeline.generate(request.withNegativePrompt("dog"))) {
      assertThat(plain.latents().toFloatArray()).isEqualTo(negative.latents().toFloatArray());
      assertThat(plain.networkEvaluations()).isEqualTo(4);
    }
  }

  @Test
  void guidanceIsTheScaleOfDiffusers() {
    try (Scope scope = Scope.open()) {
      Tensor guided = Denoiser.guide(Tensor.full(1, 1), Tensor.full(3, 1), 7.5);
      assertThat(guided.item()).isEqualTo(16);
    }
  }

  @Test
  void bfloat16StaysNear() {
    Request request = Request.of("a cat").withSize(32, 32);
    try (Scope scope = Scope.open();
        Result full = new TextToImage(student("ddim_eps")).generate(request);
        Result low = new TextToImage(student("ddim_eps"), DType.BF16).generate(request)) {
      assertThat(low.latents().dtype()).isEqualTo(DType.F32);
      assertThat(Golden.error("bf16", low.latents(), full.latents())).isBetween(1e-6, 0.05);
    }
  }

  @Test
  void sizesThatDoNotFit() {
    TextToImage pipeline = new TextToImage(model);
    assertThatThrownBy(() -> pipeline.generate(Request.of("a cat").withSize(65, 63)))
        .hasMessageContaining("65x63")
        .hasMessageContaining("multiples of 4")
        .hasMessageContaining("nearest is 64x64");
    assertThatThrownBy(() -> Request.of("a cat").withSteps(0)).hasMessageContaining("at least 1");
    assertThatThrownBy(() -> Request.of("a cat").withGuidance(Double.NaN))
        .hasMessageContaining("guidance");
    List<Request> mixed = List.of(Request.of("a"), Request.of("b").withSteps(8));
    assertThatThrownBy(() -> pipeline.generate(mixed, 2, (done, total, z) -> {}))
        .hasMessageContaining("prompts and seeds only");
  }

  @Test
  void longPromptsSayWhatWasCut() {
    String fits = "a ".repeat(75).strip();
    try (Result result =
        new TextToImage(student("ddim_eps"))
            .generate(Request.of(fits + " red apple").withSize(32, 32))) {
      assertThat(result.warnings()).singleElement().asString().endsWith("\"red apple\"");
    }
    assertThat(TextToImage.cutOff(model.tokenizer(), fits)).isEmpty();
  }

  @Test
  void nativeMemoryStaysFlat() {
    TextToImage pipeline = new TextToImage(student("ddim_eps"));
    Request request = Request.of("a cat").withSize(32, 32);
    pipeline.generate(request).close();
    long before = Scope.liveObjects();
    for (int i = 0; i < 3; i++) {
      pipeline.generate(request).close();
    }
    assertThat(Scope.liveObjects() - before).isLessThan(50);
  }
}
