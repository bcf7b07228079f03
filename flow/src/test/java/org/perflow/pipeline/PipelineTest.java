package org.perflow.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.flow.Golden;
import org.perflow.flow.Guidance;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.sampler.PerflowScheduler;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.pipeline.Pipeline.Result;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;

class PipelineTest {
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

  @Test
  void picturesDoNotDependOnTheBatch() {
    Pipeline pipeline = new Pipeline(student("ddim_eps"));
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

  /** The second picture's generator, too, is drawn from as in a call of its own. */
  @ParameterizedTest
  @ValueSource(doubles = {0.6, 1})
  void inpaintedPicturesDoNotDependOnTheBatch(double strength) {
    BufferedImage picture = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
    BufferedImage mask = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
    mask.setRGB(0, 0, 16, 32, IntStream.generate(() -> 0xFFFFFF).limit(16 * 32).toArray(), 0, 16);
    Request request = Request.of("a cat").withImage(picture, strength).withMask(mask).withSteps(4);
    Pipeline pipeline = new Pipeline(model);
    try (Scope scope = Scope.open();
        Result together = pipeline.generate(request.repeat(2), 2, (done, total, z) -> {});
        Result first = pipeline.generate(request);
        Result second = pipeline.generate(request.withSeed(1))) {
      assertThat(Golden.error("row 0", together.latents().narrow(0, 0, 1), first.latents()))
          .isLessThan(1e-5);
      assertThat(Golden.error("row 1", together.latents().narrow(0, 1, 1), second.latents()))
          .isLessThan(1e-5);
    }
  }

  @Test
  void noiseOfAPictureIsPyTorchs() { // torch.randn(2, 2, generator=manual_seed(42))
    try (Scope scope = Scope.open()) {
      assertThat(Pipeline.noise(new long[] {0, 42}, 2, 2).select(0, 1).toFloatArray())
          .containsExactly(new float[] {0.3367f, 0.1288f, 0.2345f, 0.2303f}, within(5e-5f));
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, 1})
  void withoutGuidanceTheNegativePromptIsNotRead(double guidance) {
    Pipeline pipeline = new Pipeline(student("ddim_eps"));
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
      Tensor guided = Guidance.guide(Tensor.full(1, 1), Tensor.full(3, 1), 7.5);
      assertThat(guided.item()).isEqualTo(16);
    }
  }

  @Test
  void rescalingTakesTheSpreadBack() {
    try (Scope scope = Scope.open()) {
      Tensor conditional = Tensor.of(new float[] {0, 1, 2, 3, 9, 9, 9, 11}, 2, 4);
      Tensor guided = Tensor.of(new float[] {0, 2, 4, 6, -1, -1, -1, -2}, 2, 4); // ratios 1/2 and 2
      assertThat(Guidance.rescale(guided, conditional, 0.7).toFloatArray()) // by 0.65 and 1.7
          .containsExactly(
              new float[] {0, 1.3f, 2.6f, 3.9f, -1.7f, -1.7f, -1.7f, -3.4f}, within(1e-6f));
    }
    assertThatThrownBy(() -> Request.of("a cat").withGuidanceRescale(1.5))
        .hasMessageContaining("guidance rescale is 1.5");
  }

  @Test
  void bfloat16StaysNear() {
    Request request = Request.of("a cat").withSize(32, 32);
    try (Scope scope = Scope.open();
        Result full = new Pipeline(student("ddim_eps")).generate(request);
        Result low = new Pipeline(student("ddim_eps"), DType.BF16).generate(request)) {
      assertThat(low.latents().dtype()).isEqualTo(DType.F32);
      assertThat(Golden.error("bf16", low.latents(), full.latents())).isBetween(1e-6, 0.05);
    }
  }

  @Test
  void sizesThatDoNotFit() {
    Pipeline pipeline = new Pipeline(model);
    assertThatThrownBy(() -> pipeline.generate(Request.of("a cat").withSize(65, 63)))
        .hasMessageContaining("65x63")
        .hasMessageContaining("multiples of 4")
        .hasMessageContaining("nearest is 64x64");
    assertThatThrownBy(() -> Request.of("a cat").withSteps(0)).hasMessageContaining("1 to 100,000");
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
        new Pipeline(student("ddim_eps"))
            .generate(Request.of(fits + " red apple").withSize(32, 32))) {
      assertThat(result.warnings()).singleElement().asString().endsWith("\"red apple\"");
    }
    assertThat(PromptEncoder.cutOff(model.tokenizer(), fits)).isEmpty();
  }

  @Test
  void guidanceFollowsItsSchedule() {
    Guidance dynamic = Guidance.parse("7.5-4-4-1");
    assertThat(IntStream.range(0, 5).mapToDouble(i -> dynamic.at(i, 5)))
        .containsExactly(7.5, 7.5, 4.0, 4.0, 1.0); // the noisiest window has one step more
    assertThat(dynamic).hasToString("7.5-4-4-1").isEqualTo(Guidance.of(7.5, 4, 4, 1));
    assertThatThrownBy(() -> dynamic.at(0, 3)).hasMessageContaining("4 scales for 3 steps");
    assertThatThrownBy(() -> Guidance.parse("7.5,4")).hasMessageContaining("7.5-4-4-4");
    Pipeline pipeline = new Pipeline(student("ddim_eps"));
    Request request = Request.of("a cat").withSize(32, 32).withGuidance(3);
    try (Scope scope = Scope.open();
        Result constant = pipeline.generate(request);
        Result same = pipeline.generate(request.withGuidance(Guidance.of(3, 3, 3, 3)));
        Result late = pipeline.generate(request.withGuidance(Guidance.of(3, 3, 3, 1)))) {
      assertThat(same.latents().toFloatArray()).isEqualTo(constant.latents().toFloatArray());
      assertThat(late.networkEvaluations()).isEqualTo(7);
      assertThat(Golden.error("late", late.latents(), constant.latents())).isGreaterThan(1e-5);
    }
  }

  @Test
  void longPromptsAreReadInPieces() {
    Pipeline pipeline = new Pipeline(student("ddim_eps"));
    Request brief = Request.of("a red apple").withSize(32, 32);
    Request wordy = brief.withPrompt("a ".repeat(80) + "red apple").withLongPrompts(true);
    try (Scope scope = Scope.open();
        Result plain = pipeline.generate(brief);
        Result whole = pipeline.generate(wordy);
        Result mixed =
            pipeline.generate(
                List.of(brief.withLongPrompts(true), wordy), 2, (done, total, z) -> {})) {
      assertThat(whole.warnings()).isEmpty();
      assertThat(Golden.error("long", whole.latents(), plain.latents())).isGreaterThan(1e-3);
      assertThat(Golden.error("short row", mixed.latents().narrow(0, 0, 1), plain.latents()))
          .isLessThan(1e-5); // not padded to the long one's length
      assertThat(Golden.error("long row", mixed.latents().narrow(0, 1, 1), whole.latents()))
          .isLessThan(1e-5);
    }
  }

  /**
   * The encoder's last norm gives every token the mean of its bias, here one half: [red] weighted
   * by w moves the mean of 77 tokens to (76 + w)/154, and 77/(76 + w) brings it back.
   */
  @ParameterizedTest
  @ValueSource(doubles = {1.5, 0.25, -3})
  void weightsScaleTokensAndKeepTheMean(double weight) {
    Parameter bias = model.textEncoder().namedParameters().get("final_layer_norm.bias");
    bias.adapt(value -> value.add(0.5));
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor plain = states(DType.F32, "a red apple");
      Tensor heavy = states(DType.F32, "a (red:%s) apple".formatted(weight));
      Tensor expected = redTimes(weight, plain).mul(77 / (76 + weight));
      assertThat(Golden.error("red times " + weight, heavy, expected)).isLessThan(1e-5);
      assertThat(heavy.mean().item()).isCloseTo(0.5, within(1e-5));
      assertThat(states(DType.F32, "(a red apple:1.0)").toFloatArray())
          .isEqualTo(plain.toFloatArray());
    } finally {
      bias.restore();
    }
  }

  /** As of an encoder whose last norm has no bias: what rounding left is no mean to bring back. */
  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void weightsOnlyScaleTokensWhoseMeanIsZero(DType type) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor plain = states(type, "a red apple");
      assertThat(states(type, "a (red:1.5) apple").toFloatArray())
          .isEqualTo(redTimes(1.5, plain).toFloatArray());
    }
  }

  /** 76 tokens of mean one half and one of -76 halves leave nothing to divide by. */
  @Test
  void weightsThatCancelTheMeanOnlyScale() {
    Parameter bias = model.textEncoder().namedParameters().get("final_layer_norm.bias");
    bias.adapt(value -> value.add(0.5));
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor plain = states(DType.F32, "a red apple");
      assertThat(states(DType.F32, "a (red:-76) apple").toFloatArray())
          .isEqualTo(redTimes(-76, plain).toFloatArray());
    } finally {
      bias.restore();
    }
  }

  private static Tensor states(DType type, String prompt) {
    return new PromptEncoder(model, type, 0, true).encode(List.of(prompt), 1, 64, 64).text();
  }

  /** [1, 77, D] with the third row, which is "red" after the text's begin and "a", scaled. */
  private static Tensor redTimes(double weight, Tensor states) {
    Tensor after = states.narrow(1, 3, states.size(1) - 3);
    return Tensor.cat(1, states.narrow(1, 0, 2), states.narrow(1, 2, 1).mul(weight), after);
  }

  @Test
  void bracketsWeigh() {
    assertThat(WeightedText.parse("a (red:1.5) [dull] ((hot)) \\(plain\\) 3:4 (open"))
        .extracting(WeightedText::text)
        .containsExactly("a ", "red", " ", "dull", " ", "hot", " (plain) 3:4 ", "open");
    assertThat(WeightedText.parse("a (red:1.5) [dull] ((hot)) b (open"))
        .extracting(piece -> Math.round(1000 * piece.weight()))
        .containsExactly(1000L, 1500L, 1000L, 909L, 1000L, 1210L, 1000L, 1100L);
  }

  @Test
  void requestsThatMeanNothingAreRefused() {
    BufferedImage picture = new BufferedImage(30, 32, BufferedImage.TYPE_INT_RGB);
    Request faint = Request.imageToImage("a cat", picture, 0.1); // fits most teachers' 50 steps
    assertThatThrownBy(() -> faint.withSteps(4)).hasMessageContaining("leaves none to draw");
    assertThatThrownBy(() -> new Pipeline(student("ddim_eps")).draw(faint))
        .hasMessageContaining("leaves none to draw");
    assertThatThrownBy(() -> Request.imageToImage("a cat", picture, 1.5))
        .hasMessageContaining("strength is 1.5");
    assertThatThrownBy(() -> Request.of("a cat").withMask(picture))
        .hasMessageContaining("without an image");
    Pipeline pipeline = new Pipeline(student("ddim_eps"));
    assertThatThrownBy(() -> pipeline.draw(Request.imageToImage("a cat", picture, 0.5)))
        .hasMessageContaining("30x32")
        .hasMessageContaining("nearest is 32x32");
    assertThatThrownBy(() -> pipeline.draw(Request.of("a cat").withClipSkip(3)))
        .hasMessageContaining("3 layers; want 0 to 2");
  }

  /** Inside a window a student's states lie on the chord, not where diffusion would put them. */
  @Test
  void imageToImageStartsOnTheChord() {
    ObjectNode config = student("ddim_eps").schedulerConfig();
    try (Scheduler scheduler = Schedulers.create(config, 8);
        Scope scope = Scope.open()) {
      PiecewiseFlow flow = PerflowScheduler.flow(config);
      Tensor data = Tensor.full(2, 1, 4, 4, 4);
      Tensor noise = Tensor.full(-1, 1, 4, 4, 4);
      Tensor atStart = flow.schedule().addNoise(data, noise, new int[] {749});
      Tensor atEnd = flow.schedule().addNoise(data, noise, new int[] {499});
      assertThat(Golden.error("start", scheduler.addNoise(data, noise, 2), atStart))
          .isLessThan(1e-6);
      Tensor halfway = atStart.add(atEnd).mul(0.5);
      assertThat(Golden.error("interior", scheduler.addNoise(data, noise, 3), halfway))
          .isLessThan(1e-6);
    }
  }

  /** A student with guidance in its weights is not guided again unless asked. */
  @ParameterizedTest
  @CsvSource({"1, 4", "2, 8"})
  void guidanceIsTheModelsOwn(double own, int evaluations) {
    ObjectNode config = student("ddim_eps").schedulerConfig().put(SchedulerConfig.GUIDANCE, own);
    Pipeline pipeline = new Pipeline(model.withScheduler(config));
    Request request = Request.of("a cat").withSize(32, 32);
    try (Scope scope = Scope.open();
        Pipeline.Result got = pipeline.generate(request);
        Pipeline.Result want = pipeline.generate(request.withGuidance(own))) {
      assertThat(got.latents().toFloatArray()).isEqualTo(want.latents().toFloatArray());
      assertThat(got.networkEvaluations()).isEqualTo(evaluations);
    }
  }

  /** A teacher in four steps draws badly, a student in fifty no better than in its four. */
  @Test
  void stepsAndGuidanceAreTheModelsOwnWhereNoneAreAskedFor() {
    Request request = Request.of("a cat");
    Request teachers = new Pipeline(model).complete(request);
    assertThat(teachers.steps()).isEqualTo(50);
    assertThat(teachers.guidance()).isEqualTo(Guidance.of(7.5));
    assertThat(new Pipeline(student("ddim_eps")).complete(request).steps()).isEqualTo(4);
    ObjectNode config =
        model.schedulerConfig().put(SchedulerConfig.STEPS, 2).put(SchedulerConfig.GUIDANCE, 1.0);
    Pipeline told = new Pipeline(model.withScheduler(config)).withScheduler("ddim");
    assertThat(told.complete(request.withSteps(3)).steps()).isEqualTo(3);
    try (Result result = told.generate(request.withSize(32, 32))) {
      assertThat(result.networkEvaluations()).isEqualTo(2);
    }
    assertThatThrownBy(() -> request.withSteps(0)).hasMessageContaining("steps is 0");
  }

  static List<String> samplers() {
    return SchedulerConfig.NAMES.stream().filter(name -> !name.equals("flow-euler")).toList();
  }

  /** Some remember earlier answers, outside every scope. */
  @ParameterizedTest
  @MethodSource("samplers")
  void nativeMemoryStaysFlat(String sampler) {
    Pipeline pipeline = new Pipeline(model).withScheduler(sampler);
    Request request = Request.of("a cat").withSize(32, 32).withSteps(4).withGuidance(1);
    pipeline.generate(request).close();
    long before = Scope.liveObjects();
    for (int i = 0; i < 3; i++) {
      pipeline.generate(request).close();
    }
    assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);
  }
}
