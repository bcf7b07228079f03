package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.evaluate.Evaluation.Measures;
import org.perflow.evaluate.Evaluation.Options;
import org.perflow.flow.Parameterization;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.sampler.PerflowScheduler;
import org.perflow.io.Json;
import org.perflow.models.AutoencoderKL;
import org.perflow.models.CLIPTextModel;
import org.perflow.models.CLIPTokenizer;
import org.perflow.models.ClipTextConfig;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.UNetConfig;
import org.perflow.models.VaeConfig;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** On a random model of a few thousand weights: what must hold whatever the weights. */
class EvaluationTest {
  private static final Options OPTIONS = new Options(4, DType.F32, 2, 8, 2, 3, null, false);
  private static final List<Case> CASES =
      List.of(
          new Case("ab", 1),
          new Case("ba", 2),
          new Case("a", 3),
          new Case("b", 4),
          new Case("", 5),
          new Case("a", 6));

  private static DiffusionModel model;
  private static FeatureNetwork features;
  private static Measures measures;

  @BeforeAll
  static void build(@TempDir Path folder) throws IOException {
    Device.threads(1); // tensors this small lose time to threads
    model = tinyModel(folder);
    features = new FeatureNetwork(new FeatureNetwork.Config("tiny", 16, List.of(8, 8), 4, 4));
    try (Rng rng = Rng.seeded(1)) {
      features.initialise(rng, DType.F32);
    }
    measures = new Measures(features, null, null, 20);
  }

  @AfterAll
  static void free() {
    model.close();
    features.close();
  }

  @Test
  void theReferenceIsAtNoDistanceFromItselfAndFewerStepsAreAtMore() {
    List<Long> progress = new ArrayList<>();
    SampledModel reference = new SampledModel("Teacher", model, "ddim", 6, 2);
    try (Evaluation evaluation =
        Evaluation.against(reference, CASES, measures, OPTIONS, p -> progress.add(p.pictures()))) {
      assertThat(progress).containsExactly(4L, 6L);
      Measurement itself = evaluation.rows().get(0);
      assertThat(itself.pictures().rmse()).isZero();
      assertThat(itself.isReference()).isTrue();
      assertThat(itself.set()).isNull(); // nothing to compare it with
      assertThat(itself.networkEvaluations()).isEqualTo(12);

      Measurement again = evaluation.measure(reference);
      assertThat(again.latents().rmse()).isZero(); // same noise, same result
      assertThat(again.set().frechet().value()).isCloseTo(0, within(1e-9));
      assertThat(again.set().kernel().value()).isCloseTo(0, within(1e-9));
      assertThat(again.set().precision().value()).isEqualTo(1);
      assertThat(again.set().coverage().value()).isEqualTo(1);
      assertThat(again.diversity().distance().samples()).isEqualTo(1); // "a" is drawn twice
      assertThat(again.textAgreement()).isNull();
      Measurement fewer = evaluation.measure(new SampledModel("Teacher", model, "ddim", 2, 2));
      assertThat(fewer.latents().rmse()).isGreaterThan(1e-4);
      assertThat(fewer.pictures().meanSquares()).hasSize(CASES.size());
      assertThat(fewer.inWindows()).isEqualTo(itself.inWindows()); // not of the steps
      assertThat(fewer.seconds()).isPositive();

      assertThat(evaluation.grid().prompts()).containsExactly("ab", "ba", "a");
      assertThat(evaluation.grid().lines().get(2).title()).isEqualTo("Teacher, 2 steps");
      assertThat(evaluation.grid().lines().get(2).pictures()).hasSize(3);
    }
  }

  @Test
  void setsCompareWithRealPicturesWhereThereAreSome() {
    SampledModel reference = new SampledModel("Teacher", model, "ddim", 2, 1);
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(3)) {
      Tensor real = features.ofAnySize(Tensor.rand(rng, 7, 3, 20, 20));
      FeatureSet set = new FeatureSet(real, Bootstrap.byPicture(7, 1));
      Measures against = new Measures(features, set, null, 5);
      try (Evaluation evaluation =
          Evaluation.against(reference, CASES, against, OPTIONS, p -> {})) {
        Measurement row = evaluation.rows().get(0);
        assertThat(row.pictures().rmse()).isZero();
        assertThat(row.set().frechet().value()).isPositive();
      }
    }
  }

  @Test
  void theReferenceIsReadFromTheCacheTheSecondTime(@TempDir Path folder) throws IOException {
    Options cached = new Options(4, DType.F32, 2, 8, 2, 3, new TensorCache(folder), false);
    Counting reference = new Counting(new SampledModel("Teacher", model, "ddim", 2, 1), new int[1]);
    SampledModel other = new SampledModel("Teacher", model, "ddim", 4, 1);
    List<Measurement> rows = new ArrayList<>();
    for (int run = 0; run < 2; run++) {
      try (Evaluation evaluation =
          Evaluation.against(reference, CASES, measures, cached, p -> {})) {
        rows.add(evaluation.measure(other));
        assertThat(evaluation.rows().get(0).pictures().rmse()).isZero();
        assertThat(evaluation.grid().lines()).hasSize(2);
      }
    }
    assertThat(reference.drawn()[0]).isEqualTo(2); // two batches, once
    assertThat(rows.get(1).pictures().rmse()).isEqualTo(rows.get(0).pictures().rmse());
    assertThat(rows.get(1).set().frechet().value()).isEqualTo(rows.get(0).set().frechet().value());
    Options shorter = new Options(4, DType.F32, 2, 4, 2, 3, new TensorCache(folder), false);
    Evaluation.against(reference, CASES, measures, shorter, p -> {}).close();
    assertThat(reference.drawn()[0]).isEqualTo(4); // another setting

    for (Path file : Files.list(folder).toList()) {
      Files.writeString(file, "damaged");
    }
    Evaluation.against(reference, CASES, measures, cached, p -> {}).close();
    assertThat(reference.drawn()[0]).isEqualTo(6);
  }

  /** Counts the batches that another candidate draws, and is one that the cache may keep. */
  private record Counting(SampledModel of, int[] drawn) implements Candidate {
    @Override
    public String label() {
      return of.label();
    }

    @Override
    public int steps() {
      return of.steps();
    }

    @Override
    public int networkEvaluations() {
      return of.networkEvaluations();
    }

    @Override
    public Drawn draw(List<Case> cases, DType compute) {
      drawn[0]++;
      return of.draw(cases, compute);
    }

    @Override
    public Optional<String> fingerprint() {
      return of.fingerprint();
    }
  }

  @Test
  void measuresPerflowSamplersToo() {
    SampledModel reference = new SampledModel("Teacher", model, "ddim", 4, 1);
    try (Evaluation evaluation = Evaluation.against(reference, CASES, measures, OPTIONS, p -> {})) {
      Measurement perflow = evaluation.measure(new SampledModel("PeRFlow", model, "perflow", 8, 1));
      assertThat(perflow.networkEvaluations()).isEqualTo(8);
      Straightness wanted = straightnessOfWhatThePipelineDraws("perflow", 8);
      assertThat(wanted.deviation()).isGreaterThan(1e-6);
      assertThat(perflow.inWindows().deviation())
          .isCloseTo(wanted.deviation(), withinPercentage(1));
      assertThat(perflow.inWindows().curvature())
          .isCloseTo(wanted.curvature(), withinPercentage(1));
      assertThatThrownBy(
              () -> evaluation.measure(new SampledModel("PeRFlow", model, "perflow", 3, 1)))
          .hasMessageContaining("3 steps");
    }
  }

  /** Of the first two cases in two windows, by the states that a pipeline's listener is told. */
  private static Straightness straightnessOfWhatThePipelineDraws(String sampler, int steps) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      List<float[]> later = new ArrayList<>();
      List<Request> requests =
          CASES.subList(0, 2).stream()
              .map(c -> Request.of(c.prompt()).withSeed(c.seed()).withSteps(steps).withGuidance(1))
              .toList();
      new Pipeline(model, DType.F32)
          .withScheduler(sampler)
          .generate(requests, 2, (done, total, z) -> later.add(z.toFloatArray()))
          .close();
      List<Tensor> states = new ArrayList<>(List.of(Pipeline.noise(new long[] {1, 2}, 4, 8, 8)));
      later.forEach(state -> states.add(Tensor.of(state, 2, 4, 8, 8)));
      double[] times = IntStream.rangeClosed(0, steps).mapToDouble(i -> 1 - i / 8.0).toArray();
      return Straightness.inWindows(new Straightness.Trajectory(states, times), 2);
    }
  }

  @Test
  void straightnessIsMeasuredInTheWindowsOfTheFirstPerflowModel() {
    DiffusionModel student =
        model.withScheduler(
            PerflowScheduler.config(
                model.schedulerConfig(), new TimeWindows(8), Parameterization.DDIM_EPS, false));
    SampledModel teacher = new SampledModel("Teacher", model, "ddim", 4, 1);
    SampledModel own = new SampledModel("Student", student, SampledModel.OWN, 8, 1);
    assertThat(Options.DEFAULTS.inWindowsOf(List.of(teacher))).isEqualTo(Options.DEFAULTS);
    Options eight = Options.DEFAULTS.inWindowsOf(List.of(teacher, own));
    assertThat(eight.windows()).isEqualTo(8);
    assertThat(eight.straightSteps()).isEqualTo(96); // as many of 100 as eight windows divide
    SampledModel asked = new SampledModel("Asked", model, "perflow", 8, 1);
    assertThat(OPTIONS.inWindowsOf(List.of(asked, own)).windows()).isEqualTo(4);
  }

  @Test
  void whatWasDrawnIsFreedWhereALaterPartFails(@TempDir Path folder) throws IOException {
    SampledModel reference = new SampledModel("Teacher", model, "ddim", 2, 1);
    Path file = Files.writeString(folder.resolve("file"), "no folder");
    Options unwritable = new Options(4, DType.F32, 2, 8, 2, 3, new TensorCache(file), false);
    long before = Scope.liveObjects();

    assertThatThrownBy(
            () -> Evaluation.against(new Lost(reference), CASES, measures, OPTIONS, p -> {}))
        .hasMessage("lost its way");
    assertThat(Scope.liveObjects()).as("trajectories failed").isLessThanOrEqualTo(before);

    assertThatThrownBy(() -> Evaluation.against(reference, CASES, measures, unwritable, p -> {}))
        .hasRootCauseInstanceOf(FileAlreadyExistsException.class);
    assertThat(Scope.liveObjects()).as("cache failed").isLessThanOrEqualTo(before);

    try (Scope scope = Scope.open()) {
      Tensor three = Tensor.zeros(DType.F32, 7, 3); // features of another network
      Measures other =
          new Measures(features, new FeatureSet(three, Bootstrap.byPicture(7, 1)), null, 5);
      assertThatThrownBy(() -> Evaluation.against(reference, CASES, other, OPTIONS, p -> {}))
          .hasMessageContaining("do not compare");
    }
    assertThat(Scope.liveObjects()).as("measuring failed").isLessThanOrEqualTo(before);
  }

  /** Draws, and then fails to show how. */
  private record Lost(SampledModel of) implements Candidate {
    @Override
    public String label() {
      return of.label();
    }

    @Override
    public int steps() {
      return of.steps();
    }

    @Override
    public int networkEvaluations() {
      return of.networkEvaluations();
    }

    @Override
    public Drawn draw(List<Case> cases, DType compute) {
      return of.draw(cases, compute);
    }

    @Override
    public Optional<Trajectories> trajectories(List<Case> cases, int steps, DType compute) {
      throw new IllegalStateException("lost its way");
    }
  }

  @Test
  void aMeasurementLeavesNoNativeObjectBehind() {
    SampledModel reference = new SampledModel("Teacher", model, "ddim", 2, 1);
    try (Evaluation evaluation = Evaluation.against(reference, CASES, measures, OPTIONS, p -> {})) {
      evaluation.measure(reference);
      long before = Scope.liveObjects();
      evaluation.measure(reference);
      evaluation.measure(reference);
      assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);
    }
  }

  @Test
  void settingsThatCannotBeMeasuredAreRefused() {
    assertThatThrownBy(() -> new Options(4, DType.F32, 4, 10, 2, 3, null, false))
        .hasMessageContaining("10 steps for 4 windows");
    SampledModel reference = new SampledModel("Teacher", model, "ddim", 2, 1);
    assertThatThrownBy(
            () -> Evaluation.against(reference, CASES.subList(0, 5), measures, OPTIONS, p -> {}))
        .hasMessageContaining("6 cases or more; got 5");
  }

  static DiffusionModel tinyModel(Path folder) throws IOException {
    Files.writeString(folder.resolve("tokenizer_config.json"), "{\"model_max_length\": 6}");
    Files.writeString(
        folder.resolve("vocab.json"),
        """
        {"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "<|startoftext|>": 4, "<|endoftext|>": 5}
        """);
    Files.writeString(folder.resolve("merges.txt"), "#version: 0.2\n");
    UNet2DConditionModel unet =
        new UNet2DConditionModel(
            UNetConfig.of(
                json(
                    """
                    {"sample_size": 8, "in_channels": 4, "out_channels": 4, "norm_num_groups": 4,
                     "block_out_channels": [8, 16], "layers_per_block": 1, "attention_head_dim": 2,
                     "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
                     "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
                     "cross_attention_dim": 8}
                    """)));
    AutoencoderKL vae =
        new AutoencoderKL(
            VaeConfig.of(
                json(
                    """
                    {"sample_size": 16, "latent_channels": 4, "norm_num_groups": 4,
                     "block_out_channels": [8, 8], "layers_per_block": 1,
                     "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
                     "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]}
                    """)));
    CLIPTextModel text =
        new CLIPTextModel(
            ClipTextConfig.of(
                json(
                    """
                    {"vocab_size": 6, "hidden_size": 8, "intermediate_size": 16,
                     "num_hidden_layers": 1, "num_attention_heads": 2,
                     "max_position_embeddings": 6, "bos_token_id": 4, "eos_token_id": 5}
                    """)));
    try (Rng rng = Rng.seeded(0)) {
      unet.initialise(rng, DType.F32);
      vae.initialise(rng, DType.F32);
      text.initialise(rng, DType.F32);
    }
    ObjectNode scheduler =
        json(
            """
            {"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
             "beta_schedule": "scaled_linear", "clip_sample": false, "set_alpha_to_one": false,
             "steps_offset": 1, "num_train_timesteps": 1000}
            """);
    return new DiffusionModel(unet, vae, text, CLIPTokenizer.load(folder), scheduler);
  }

  private static ObjectNode json(String text) throws IOException {
    return (ObjectNode) Json.MAPPER.readTree(text);
  }
}
