package org.perflow.delta;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.accelerate.Methods;
import org.perflow.distill.Method;
import org.perflow.flow.Parameterization;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.sampler.PerflowScheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.io.Fingerprint;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.models.lora.LoraFile;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Golden;

/** Deltas of a tiny model: there and back, in whole folders, and where they do not fit. */
class DeltaTest {
  private static final String UNET = "unet/diffusion_pytorch_model.safetensors";
  private static final Path BASE = Golden.FOLDER.resolve(UNET);
  private static final Path SD21 =
      Golden.FOLDER.resolveSibling("sd21-unet/diffusion_pytorch_model.safetensors");

  private static final String LAYER = "time_embedding.cond_proj.weight";

  @TempDir Path temp;
  private Path student;
  private Path delta;

  @BeforeEach
  void makeStudent() throws IOException {
    student = temp.resolve("student.safetensors");
    delta = temp.resolve("delta.safetensors");
    try (SafetensorsFile base = SafetensorsFile.open(BASE);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(9)) {
      Map<String, Tensor> weights = new LinkedHashMap<>();
      for (SafetensorsFile.Entry entry : base.entries().values()) {
        Tensor change = Tensor.randn(rng, entry.shape()).mul(1e-3);
        weights.put(entry.name(), base.read(entry.name()).add(change));
      }
      SafetensorsWriter.write(student, weights, Map.of());
    }
  }

  private static ObjectNode teacherScheduler() throws IOException {
    return (ObjectNode) Json.read(Golden.FOLDER.resolve("scheduler/scheduler_config.json"));
  }

  private void extract(DType type) throws IOException {
    ObjectNode scheduler =
        PerflowScheduler.config(
            teacherScheduler(), new TimeWindows(4), Parameterization.DDIM_EPS, false);
    Delta.extract(BASE, student, delta, type, Delta.sampler(scheduler, teacherScheduler()));
  }

  /** The student with a layer that embeds its guidance. */
  private Path toldItsGuidance() throws IOException {
    Path told = temp.resolve("told.safetensors");
    try (SafetensorsFile file = SafetensorsFile.open(student);
        Scope scope = Scope.open();
        Rng rng = Rng.seeded(3)) {
      Map<String, Tensor> weights = new LinkedHashMap<>();
      for (String name : file.entries().keySet()) {
        weights.put(name, file.read(name));
      }
      weights.put(LAYER, Tensor.randn(rng, 32, 256));
      SafetensorsWriter.write(told, weights, Map.of());
    }
    return told;
  }

  /** Largest difference of two weight files. */
  private static double distance(Path one, Path two) throws IOException {
    double largest = 0;
    try (SafetensorsFile a = SafetensorsFile.open(one);
        SafetensorsFile b = SafetensorsFile.open(two);
        NoGrad guard = NoGrad.enter()) {
      assertThat(a.entries().keySet()).isEqualTo(b.entries().keySet());
      for (String name : a.entries().keySet()) {
        try (Scope scope = Scope.open()) {
          Tensor difference = a.read(name, DType.F32).sub(b.read(name, DType.F32));
          largest = Math.max(largest, difference.abs().max().item());
        }
      }
    }
    return largest;
  }

  @Test
  void appliedItIsTheStudentAndTakenAwayTheBase() throws IOException {
    Path out = temp.resolve("out.safetensors");
    extract(DType.F32);
    Delta.apply(BASE, delta, out, Delta.Options.DEFAULTS, Map.of());
    assertThat(distance(out, student)).isLessThan(1e-6); // a + (b - a), rounded
    Delta.unapply(student, delta, out, Delta.Options.DEFAULTS, Map.of());
    assertThat(distance(out, BASE)).isLessThan(1e-6);
    extract(DType.F16); // 11 bits of changes up to 5e-3
    Delta.apply(BASE, delta, out, Delta.Options.DEFAULTS, Map.of());
    assertThat(distance(out, student)).isBetween(1e-8, 4e-6);
  }

  @Test
  void scalesAndSkips() throws IOException {
    extract(DType.F32);
    Path half = temp.resolve("half.safetensors");
    Delta.scale(delta, 0.5, half);
    Path one = temp.resolve("one.safetensors");
    Path two = temp.resolve("two.safetensors");
    Delta.apply(BASE, half, one, Delta.Options.DEFAULTS, Map.of());
    Delta.apply(BASE, delta, two, new Delta.Options(0.5, null, false, List.of()), Map.of());
    assertThat(distance(one, two)).isLessThan(1e-6);
    assertThat(Delta.info(half).metadata()).containsEntry("scale", "0.5");
    Delta.apply(BASE, delta, one, new Delta.Options(1, null, false, List.of("")), Map.of());
    assertThat(distance(one, BASE)).isZero(); // every name begins with ""
  }

  @Test
  void theMeanOfSeveralFitsTheirBaseAndNoOthersAreMixed() throws IOException {
    extract(DType.F32);
    Path thrice = temp.resolve("thrice.safetensors");
    Delta.scale(delta, 3, thrice);
    Path mean = temp.resolve("mean.safetensors");
    Delta.mean(List.of(thrice, delta, delta, thrice), mean);
    Path twice = temp.resolve("twice.safetensors");
    Delta.scale(delta, 2, twice);
    assertThat(distance(mean, twice)).isLessThan(1e-7);
    assertThat(Delta.info(mean).baseSha256()).isEqualTo(Fingerprint.of(BASE));
    assertThat(Delta.info(mean).scheduler()).isEqualTo(Delta.info(delta).scheduler());
    assertThat(Delta.info(mean).metadata().get("mean_of")).contains("thrice.safetensors ");
    assertThat(Delta.info(mean).metadata()).doesNotContainKey("scale");

    Path foreign = temp.resolve("foreign.safetensors");
    Delta.extract(student, BASE, foreign);
    Path out = temp.resolve("out.safetensors");
    assertThatThrownBy(() -> Delta.mean(List.of(delta, foreign), out))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("have no mean: their base_sha256 differs");
    assertThatThrownBy(() -> Delta.mean(List.of(delta, student), out))
        .hasMessageContaining("is a complete network and no delta");
    assertThat(out).doesNotExist();
  }

  @Test
  void aMeanLosesNoLayerWhicheverDeltaLacksIt() throws IOException {
    Path told = toldItsGuidance();
    Path with = temp.resolve("with.safetensors");
    Delta.extract(BASE, student, delta);
    Delta.extract(BASE, told, with);
    Path out = temp.resolve("mean.safetensors");
    for (List<Path> order : List.of(List.of(delta, with), List.of(with, delta))) {
      Delta.mean(order, out);
      try (SafetensorsFile mean = SafetensorsFile.open(out);
          SafetensorsFile weights = SafetensorsFile.open(told);
          Scope scope = Scope.open()) {
        assertThat(mean.read(LAYER).toFloatArray())
            .as("%s", order)
            .isEqualTo(weights.read(LAYER).mul(0.5).toFloatArray());
        assertThat(mean.entries()).hasSameSizeAs(weights.entries());
      }
    }
  }

  @Test
  void whatIsSkippedStaysOutOfABaseThatLacksIt() throws IOException {
    Delta.extract(
        BASE,
        toldItsGuidance(),
        delta,
        DType.F32,
        Delta.sampler(
            Schedulers.config("lcm", teacherScheduler()).put("recommended_num_inference_steps", 4),
            teacherScheduler()));
    Path out = temp.resolve("out");
    var without = Delta.Options.DEFAULTS.withSkip(List.of("time_embedding.cond_proj"));
    DeltaFolder.apply(Golden.FOLDER, delta, out, DeltaFolder.Sampler.OF_DELTA, without, Map.of());
    assertThat(distance(out.resolve(UNET), student)).isLessThan(1e-6); // of the same names
    try (DiffusionModel model = DiffusionModel.load(out, DType.F32)) {
      assertThat(model.unet().config().takesTimestepCond()).isFalse();
    }
  }

  /** Diffusers refuses a folder whose index names a class that it has not. */
  @Test
  void theIndexNamesAClassOfDiffusersForTheStudentsOfEveryMethod() throws IOException {
    for (Method<?> method : Methods.ALL) {
      ObjectNode sampler = sampler(method);
      Delta.extract(BASE, student, delta, DType.F32, Delta.sampler(sampler, teacherScheduler()));
      Path out = temp.resolve("as-" + method.name());
      publish(delta, out, DeltaFolder.Sampler.OF_DELTA);
      assertThat(Json.read(out.resolve("model_index.json")).at("/scheduler/1").asText())
          .as(method.name())
          .isIn(SchedulerConfig.CLASSES)
          .isNotIn(SchedulerConfig.SHORTCUT, SchedulerConfig.PERFLOW);
      assertThat(Json.read(out.resolve("scheduler/scheduler_config.json")).toString())
          .isEqualTo(sampler.toString());
    }
  }

  private static <O extends Record> ObjectNode sampler(Method<O> method) throws IOException {
    return method.scheduler(
        teacherScheduler(), method.suited(teacherScheduler(), method.defaults()));
  }

  @Test
  void knowsWhatItFits() throws IOException {
    extract(DType.BF16);
    Delta.Info info = Delta.info(delta);
    assertThat(info.family()).isEqualTo("SD-1.x U-Net");
    assertThat(info.baseSha256()).isEqualTo(Fingerprint.of(BASE));
    assertThat(info.basePrediction()).isEqualTo("epsilon");
    assertThat(info.type()).isEqualTo(DType.BF16);
    assertThat(info.scheduler().path("num_time_windows").asInt()).isEqualTo(4);
    Path out = temp.resolve("out.safetensors");
    assertThatThrownBy(() -> Delta.apply(SD21, delta, out, Delta.Options.DEFAULTS, Map.of()))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("does not fit")
        .hasMessageContaining("proj_in.weight is");
    assertThatThrownBy(() -> Delta.apply(BASE, student, out, Delta.Options.DEFAULTS, Map.of()))
        .hasMessageContaining("is a complete network and no delta");
    assertThatThrownBy(() -> Delta.apply(student, delta, out, Delta.Options.DEFAULTS, Map.of()))
        .hasMessageContaining("was taken against weights of sha256");
    assertThat(out).doesNotExist();
  }

  @Test
  void writesAFolderThatIsSampledAsTheDeltaSays() throws IOException {
    extract(DType.F32);
    Path out = temp.resolve("fast");
    DeltaFolder.apply(
        Golden.FOLDER,
        delta,
        out,
        DeltaFolder.Sampler.OF_DELTA,
        Delta.Options.DEFAULTS,
        Map.of("a", "b"));
    assertThat(distance(out.resolve(UNET), student)).isLessThan(1e-6);
    try (DiffusionModel model = DiffusionModel.load(out, DType.F32)) {
      assertThat(PerflowScheduler.flow(model.schedulerConfig()).parameterization())
          .isEqualTo(Parameterization.DDIM_EPS);
    }
    assertThat(Files.readAllBytes(out.resolve("vae/config.json")))
        .isEqualTo(Files.readAllBytes(Golden.FOLDER.resolve("vae/config.json")));
    assertThatThrownBy(
            () ->
                DeltaFolder.apply(
                    out,
                    delta,
                    temp.resolve("twice"),
                    DeltaFolder.Sampler.OF_DELTA,
                    Delta.Options.DEFAULTS,
                    Map.of()))
        .hasMessageContaining("accelerated already");
  }

  @Test
  void aDeltaOfTwoPlainModelsLeavesTheSamplerAlone() throws IOException {
    ObjectNode plain = teacherScheduler();
    plain.remove("prediction_type"); // as many published configs
    Delta.extract(BASE, student, delta, DType.F32, Delta.sampler(plain, plain));
    Path out = temp.resolve("tuned");
    DeltaFolder.apply(
        Golden.FOLDER, delta, out, DeltaFolder.Sampler.OF_DELTA, Delta.Options.DEFAULTS, Map.of());
    assertThat(distance(out.resolve(UNET), student)).isLessThan(1e-6);
    assertThat(Json.read(out.resolve("scheduler/scheduler_config.json")))
        .isEqualTo(teacherScheduler());
    assertThat(Json.read(out.resolve("model_index.json")).path("scheduler"))
        .isEqualTo(Json.read(Golden.FOLDER.resolve("model_index.json")).path("scheduler"));
  }

  /** Such as the safety checker of a folder that came from the hub, where it stayed. */
  @Test
  void aPartThatTheBaseNamesAndLacksIsNamedNoMore() throws IOException {
    extract(DType.F32);
    Path base = Files.createDirectories(temp.resolve("base"));
    for (String part : List.of("unet", "vae", "text_encoder", "tokenizer", "scheduler")) {
      Files.createDirectories(base.resolve(part));
      try (Stream<Path> files = Files.list(Golden.FOLDER.resolve(part))) {
        for (Path file : files.toList()) {
          Files.copy(file, base.resolve(part).resolve(file.getFileName().toString()));
        }
      }
    }
    ObjectNode index = Json.readObject(Golden.FOLDER.resolve("model_index.json"));
    index.putArray("safety_checker").add("stable_diffusion").add("StableDiffusionSafetyChecker");
    Json.write(base.resolve("model_index.json"), index);
    Path out = temp.resolve("fast");
    DeltaFolder.apply(
        base, delta, out, DeltaFolder.Sampler.OF_DELTA, Delta.Options.DEFAULTS, Map.of());
    assertThat(Json.read(out.resolve("model_index.json")).path("safety_checker"))
        .isEqualTo(Json.MAPPER.readTree("[null, null]"));
    assertThat(Json.read(out.resolve("model_index.json")).path("vae")).isEqualTo(index.path("vae"));
  }

  /** A student that embeds its guidance, and whose sampler diffusers has: LCM's. */
  @Test
  void aLayerThatTheBaseLacksGoesAlong() throws IOException {
    Path told = toldItsGuidance();
    ObjectNode sampler =
        Schedulers.config("lcm", teacherScheduler()).put("recommended_num_inference_steps", 4);
    Delta.extract(BASE, told, delta, DType.F32, Delta.sampler(sampler, teacherScheduler()));
    Path out = temp.resolve("out");
    DeltaFolder.apply(
        Golden.FOLDER,
        delta,
        out,
        DeltaFolder.Sampler.OF_DELTA,
        new Delta.Options(0.5, null, false, List.of()),
        Map.of());
    try (DiffusionModel model = DiffusionModel.load(out, DType.F32);
        SafetensorsFile file = SafetensorsFile.open(told);
        Scope scope = Scope.open()) {
      assertThat(model.schedulerConfig().path("_class_name").asText()).isEqualTo("LCMScheduler");
      assertThat(model.unet().config().timeCondProjDim()).isEqualTo(256);
      assertThat(model.unet().namedParameters().get(LAYER).value().toFloatArray())
          .isEqualTo(file.read(LAYER).mul(0.5).toFloatArray());
    }
    assertThat(Json.read(out.resolve("model_index.json")).path("scheduler").path(1).asText())
        .isEqualTo("LCMScheduler");
    assertThatThrownBy(
            () ->
                DeltaLora.write(
                    delta, 4, LoraFile.Format.PEFT, DType.F32, temp.resolve("lora.safetensors")))
        .hasMessageContaining("lcm-lora");
  }

  /** A folder as the authors publish them: weights without metadata. */
  @Test
  void publishedDeltasNeedToBeToldTheirSampler() throws IOException {
    extract(DType.F16);
    Path published = Files.createDirectories(temp.resolve("published"));
    try (SafetensorsFile file = SafetensorsFile.open(delta);
        Scope scope = Scope.open()) {
      Map<String, Tensor> plain = new LinkedHashMap<>();
      for (String name : file.entries().keySet()) {
        plain.put(name, file.read(name));
      }
      Path weights = published.resolve("diffusion_pytorch_model.v0-1.safetensors");
      SafetensorsWriter.write(weights, plain, Map.of());
      assertThat(DeltaFolder.weights(published)).isEqualTo(weights);
    }
    Path out = temp.resolve("fast");
    assertThatThrownBy(() -> publish(published, out, DeltaFolder.Sampler.OF_DELTA))
        .hasMessageContaining("does not say how its model is sampled")
        .hasMessageContaining("diff_eps for SD-1.5");
    // the old name that model cards still say
    publish(published, out, new DeltaFolder.Sampler(Parameterization.parse("epsilon"), 4));
    assertThat(distance(out.resolve(UNET), student)).isLessThan(4e-6);
    assertThat(
            Json.read(out.resolve("scheduler/scheduler_config.json"))
                .path("prediction_type")
                .asText())
        .isEqualTo("diff_eps");
    // or it lies with a scheduler config
    ObjectNode config = Json.MAPPER.createObjectNode().put("_class_name", "PeRFlowScheduler");
    config.put("prediction_type", "epsilon").put("num_time_windows", 4);
    Json.write(published.resolve("scheduler_config.json"), config);
    publish(published, out, DeltaFolder.Sampler.OF_DELTA);
    assertThat(PerflowScheduler.flow(config).parameterization())
        .isEqualTo(Parameterization.DIFF_EPS);
  }

  private static void publish(Path published, Path out, DeltaFolder.Sampler sampler)
      throws IOException {
    DeltaFolder.apply(Golden.FOLDER, published, out, sampler, Delta.Options.DEFAULTS, Map.of());
  }

  @Test
  void anotherPredictionOrNoiseIsRefused() throws IOException {
    extract(DType.F32);
    Path base = temp.resolve("base");
    try (DiffusionModel model = DiffusionModel.load(Golden.FOLDER, DType.F32)) {
      model.save(base, DType.F32, Map.of());
      ObjectNode scheduler = teacherScheduler().put("prediction_type", "v_prediction");
      Json.write(base.resolve("scheduler/scheduler_config.json"), scheduler);
    }
    var any = new Delta.Options(1, null, true, List.of());
    var sampler = DeltaFolder.Sampler.OF_DELTA;
    Path out = temp.resolve("out");
    assertThatThrownBy(() -> DeltaFolder.apply(base, delta, out, sampler, any, Map.of()))
        .hasMessageContaining("changes a network that predicts epsilon")
        .hasMessageContaining("predicts v_prediction");
    ObjectNode scheduler = teacherScheduler().put("beta_end", 0.5);
    Json.write(base.resolve("scheduler/scheduler_config.json"), scheduler);
    assertThatThrownBy(() -> DeltaFolder.apply(base, delta, out, sampler, any, Map.of()))
        .hasMessageContaining("another noise schedule");
    assertThat(out).doesNotExist();
  }
}
