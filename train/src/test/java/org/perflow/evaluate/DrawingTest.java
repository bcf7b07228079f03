package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Golden;

/** What is measured is what {@link Pipeline} draws for the same request. */
class DrawingTest {
  private static final List<Case> CASES = List.of(new Case("a red apple", 1), new Case("a cat", 7));

  private static DiffusionModel model;

  @BeforeAll
  static void load() throws IOException {
    model = DiffusionModel.load(Golden.FOLDER, DType.F32);
  }

  @AfterAll
  static void free() {
    model.close();
  }

  private static float[] measured(DiffusionModel of, String sampler) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return new SampledModel("", of, sampler, 3, 2)
          .draw(CASES, DType.F32)
          .latents()
          .toFloatArray();
    }
  }

  private static float[] generated(Pipeline pipeline, UnaryOperator<Request> change) {
    List<Request> requests =
        CASES.stream()
            .map(each -> Request.of(each.prompt()).withSeed(each.seed()))
            .map(request -> change.apply(request.withSteps(3).withGuidance(2)))
            .toList();
    try (Pipeline.Result result = pipeline.generate(requests, 2, (done, total, z) -> {})) {
      return result.latents().toFloatArray();
    }
  }

  @Test
  void statesGoFromTheSeedsNoiseToThePicture() {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Pipeline ddim = new Pipeline(model, DType.F32).withScheduler("ddim");
      Drawing drawing = new Drawing(ddim, 2, 3, DType.F32);
      List<Tensor> states = drawing.sample(CASES).states();
      assertThat(states).hasSize(4);
      long[] shape = states.get(0).shape();
      assertThat(states.get(0).narrow(0, 1, 1).toFloatArray())
          .containsExactly(
              Pipeline.noise(new long[] {7}, shape[1], shape[2], shape[3]).toFloatArray());
      assertThat(states.get(3).toFloatArray())
          .containsExactly(generated(new Pipeline(model, DType.F32).withScheduler("ddim"), r -> r));
    }
  }

  /** XL's negative prompt, where none is given, is zeros and not the empty text. */
  @Test
  void theEmptyPromptOfXlIsThatOfThePipeline() throws IOException {
    try (DiffusionModel xl = DiffusionModel.load(Golden.FOLDER.resolveSibling("sdxl"), DType.F32)) {
      Pipeline pipeline = new Pipeline(xl, DType.F32).withScheduler("ddim");
      assertThat(measured(xl, "ddim"))
          .containsExactly(generated(pipeline, r -> r))
          .isNotEqualTo(generated(pipeline, r -> r.withNegativePrompt("")));
    }
  }

  /** Diffusers' pipelines set what configs from before their time leave out. */
  @Test
  void oldConfigsAreCorrectedAsInThePipeline() {
    var old = model.schedulerConfig();
    old.put("_class_name", "DDIMScheduler").put("timestep_spacing", "leading");
    old.put("steps_offset", 0).put("clip_sample", true);
    DiffusionModel with = model.withScheduler(old);
    assertThat(measured(with, SampledModel.OWN))
        .containsExactly(generated(new Pipeline(with, DType.F32), r -> r));
    assertThat(measured(with, "ddim"))
        .containsExactly(generated(new Pipeline(with, DType.F32).withScheduler("ddim"), r -> r));
  }

  static List<String> samplers() {
    return SchedulerConfig.NAMES.stream().filter(name -> !name.equals("flow-euler")).toList();
  }

  /** Some samplers remember earlier answers, outside every scope. */
  @ParameterizedTest
  @MethodSource("samplers")
  void noSamplerLeavesNativeObjectsBehind(String sampler) {
    SampledModel system = new SampledModel("", model, sampler, 4, 1);
    try (NoGrad guard = NoGrad.enter()) {
      long before = Scope.liveObjects();
      for (int i = 0; i < 3; i++) {
        try (Scope scope = Scope.open()) {
          system.draw(CASES, DType.F32);
        }
        if (i == 0) {
          before = Scope.liveObjects();
        }
      }
      assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);
    }
  }
}
