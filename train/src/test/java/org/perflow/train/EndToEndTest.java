package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.delta.Delta;
import org.perflow.delta.Provenance;
import org.perflow.distill.StudentWriter;
import org.perflow.distill.Task;
import org.perflow.distill.UnetNet;
import org.perflow.distill.perflow.PerflowMethod;
import org.perflow.distill.perflow.PerflowObjective;
import org.perflow.distill.perflow.PerflowOptions;
import org.perflow.flow.NoiseSchedule;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.pretrain.PretrainObjective;
import org.perflow.pretrain.VaeObjective;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;

/** Shards and a teacher's folder in, a student's folder and a delta out; on a tiny random model. */
class EndToEndTest {
  private static final String UNET = "unet/diffusion_pytorch_model.safetensors";

  @TempDir Path temp;
  private Path shard;

  @BeforeEach
  void writeShard() throws IOException {
    shard = Golden.shard(temp.resolve("train-0.tar"));
  }

  @Test
  void acceleratesATeacherWithFlatMemory() throws IOException {
    PerflowOptions options = PerflowOptions.DEFAULTS.withSolvingSteps(2);
    TrainOptions training =
        TrainOptions.DEFAULTS.withSteps(60).withBatch(2).withWarmup(5).withCheckpointEvery(0);
    List<Long> objects = new ArrayList<>();
    List<Long> bytes = new ArrayList<>();
    Path out = temp.resolve("student");
    try (DiffusionModel teacher = DiffusionModel.load(Golden.FOLDER, DType.F32);
        UNet2DConditionModel student = new UNet2DConditionModel(teacher.unet().config());
        CachedExamples data =
            CachedExamples.of(
                teacher, Catalogue.of(List.of(shard)), temp.resolve("cache"), DType.BF16, 0)) {
      student.copyFrom(teacher.unet(), DType.F32);
      var objective =
          new PerflowObjective(
              Gaussian.task(
                  data,
                  new Task.Teacher(
                      UnetNet.of(teacher.unet(), DType.BF16, null), teacher.schedulerConfig()),
                  UnetNet.of(student, DType.BF16, null)),
              options);
      try (Trainer trainer = new Trainer(objective, training, temp.resolve("run"))) {
        trainer.listen(
            new TrainListener() {
              @Override
              public void onStep(Report report) {
                objects.add(Scope.liveObjects());
                bytes.add(Scope.physicalBytes());
              }
            });
        trainer.run();
        Provenance provenance =
            Provenance.of(Golden.FOLDER.resolve(UNET), List.of(shard), trainer.config().json());
        ObjectNode scheduler = PerflowMethod.MEASURED.scheduler(teacher.schedulerConfig(), options);
        StudentWriter.write(teacher, Golden.FOLDER, student, scheduler, provenance, DType.F16, out);
      }
    }
    assertThat(objects.get(59)).isLessThanOrEqualTo(objects.get(20) + 20);
    assertThat(bytes.get(59) - bytes.get(20)).isLessThan(24L << 20);

    try (DiffusionModel written = DiffusionModel.load(out, DType.F32)) {
      assertThat(written.schedulerConfig().path("_class_name").asText())
          .isEqualTo("PeRFlowScheduler");
      assertThat(written.schedulerConfig().path("num_time_windows").asInt()).isEqualTo(4);
    }
    assertThat(Json.read(out.resolve("provenance.json")).at("/base/sha256").asText()).hasSize(64);
    List<Delta.Layer> layers = Delta.inspect(out.resolve("delta.safetensors"));
    assertThat(layers.stream().mapToDouble(Delta.Layer::norm).sum()).isPositive();

    Path again = temp.resolve("again.safetensors");
    Path base = Golden.FOLDER.resolve(UNET);
    Delta.apply(base, out.resolve("delta.safetensors"), again, DType.F16, false);
    // teacher + (student - teacher) in float32, then float16: at most a last digit apart
    Delta.extract(out.resolve(UNET), again, temp.resolve("rest.safetensors"));
    assertThat(Delta.inspect(temp.resolve("rest.safetensors")))
        .allSatisfy(layer -> assertThat(layer.largest()).isLessThan(2e-3));
    assertThatThrownBy(
            () -> Delta.apply(again, out.resolve("delta.safetensors"), base, DType.F32, false))
        .hasMessageContaining("was taken against weights of sha256");
    assertThatThrownBy(
            () ->
                Delta.extract(
                    base, Golden.FOLDER.resolve("vae/diffusion_pytorch_model.safetensors"), again))
        .hasMessageContaining("does not fit");
  }

  @Test
  void latentsAreEncodedOnce() throws IOException {
    Path file = temp.resolve("latents.safetensors");
    Catalogue data = Catalogue.of(List.of(shard));
    try (DiffusionModel model = DiffusionModel.load(Golden.FOLDER, DType.F32);
        Scope scope = Scope.open();
        Rng one = Rng.seeded(1);
        Rng two = Rng.seeded(1)) {
      long[] all = {0, 3, 5};
      float[] first;
      try (LatentCache cache = LatentCache.of(model.vae(), data, file)) {
        first = cache.sample(all, one).toFloatArray();
      }
      byte[] written = Files.readAllBytes(file);
      FileTime before = FileTime.fromMillis(0);
      Files.setLastModifiedTime(file, before);
      try (LatentCache cache = LatentCache.of(model.vae(), data, file)) {
        assertThat(cache.sample(all, two).toFloatArray()).isEqualTo(first);
      }
      assertThat(Files.getLastModifiedTime(file)).isEqualTo(before);
      model.vae().namedParameters().get("quant_conv.bias").value().addInPlace(1);
      LatentCache.of(model.vae(), data, file).close();
      assertThat(Files.readAllBytes(file)).isNotEqualTo(written);
    }
  }

  @Test
  void captionsHaveFourWordings() {
    assertThat(Captions.variants("fluent emoji of red apple, fruit, tree"))
        .containsExactly(
            "fluent emoji of red apple, fruit, tree",
            "red apple",
            "fluent emoji of red apple",
            "red apple, fruit, tree");
    assertThat(Captions.variants("picture of an ankle boot, shoe"))
        .containsExactly(
            "picture of an ankle boot, shoe",
            "ankle boot",
            "picture of an ankle boot",
            "ankle boot, shoe");
    assertThat(Captions.variants("picture of trousers, pants"))
        .contains("trousers", "trousers, pants");
    assertThat(Captions.variants("a photo")).containsOnly("a photo").hasSize(4);
  }

  @Test
  void pretrainingAndAutoencoderLearn() throws IOException {
    TrainOptions options =
        TrainOptions.DEFAULTS
            .withSteps(40)
            .withBatch(3)
            .withWarmup(5)
            .withLearningRate(2e-3)
            .withCheckpointEvery(0)
            .withGradientCheckpointing(true);
    Catalogue data = Catalogue.of(List.of(shard));
    List<Sample> samples = ShardReader.readAll(List.of(shard));
    try (DiffusionModel model = DiffusionModel.load(Golden.FOLDER, DType.F32);
        VaeObjective autoencoder = new VaeObjective(model.vae(), samples, DType.BF16)) {
      assertThat(improvement(autoencoder, options, temp.resolve("vae"))).isLessThan(0.8);
      try (LatentCache latents = LatentCache.of(model.vae(), data, temp.resolve("l.safetensors"));
          Captions captions = Captions.of(model.tokenizer(), data.samples());
          PretrainObjective pretraining = pretraining(model, latents, captions, DType.BF16)) {
        assertThat(improvement(pretraining, options, temp.resolve("pretrain"))).isLessThan(0.8);
      }
    }
  }

  private static PretrainObjective pretraining(
      DiffusionModel model, LatentCache latents, Captions captions, DType compute) {
    return new PretrainObjective(
        latents,
        captions,
        model.unet(),
        model.textEncoder(),
        NoiseSchedule.of(model.schedulerConfig()),
        compute);
  }

  /** Captions that were read once say the same as those that are read in every step. */
  @Test
  void aTextEncoderThatStaysGivesTheSameLoss() throws IOException {
    Catalogue data = Catalogue.of(List.of(shard));
    try (Scope scope = Scope.open();
        DiffusionModel model = DiffusionModel.load(Golden.FOLDER, DType.F32);
        LatentCache latents = LatentCache.of(model.vae(), data, temp.resolve("l.safetensors"));
        Captions captions = Captions.of(model.tokenizer(), data.samples());
        PretrainObjective both = pretraining(model, latents, captions, DType.F32);
        PretrainObjective unet = both.keepingText()) {
      assertThat(unet.parameters()).hasSize(model.unet().namedParameters().size());
      for (int seed = 0; seed < 3; seed++) {
        double together = loss(both, seed);
        assertThat(loss(unet, seed)).isCloseTo(together, within(1e-5 * together));
      }
    }
  }

  private static double loss(PretrainObjective objective, int seed) {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(seed)) {
      return objective.loss(new Objective.Step(0, 0, new long[] {0, 1, 2, 1}, rng))
          .toDoubleArray()[0];
    }
  }

  /** Mean loss of the last ten steps as a part of that of the first ten. */
  private static double improvement(Objective objective, TrainOptions options, Path folder)
      throws IOException {
    List<Double> losses = new ArrayList<>();
    try (Trainer trainer = new Trainer(objective, options, folder)) {
      trainer.listen(
          new TrainListener() {
            @Override
            public void onStep(Report report) {
              losses.add(report.loss());
            }
          });
      trainer.run();
    }
    double first = losses.subList(0, 10).stream().mapToDouble(x -> x).sum();
    double last =
        losses.subList(losses.size() - 10, losses.size()).stream().mapToDouble(x -> x).sum();
    System.out.printf("%s: %.4f -> %.4f%n", folder.getFileName(), first / 10, last / 10);
    return last / first;
  }

  @Test
  void aFolderWithOtherFilesIsNotReplaced() throws IOException {
    Path foreign = Files.createDirectories(temp.resolve("foreign"));
    Files.writeString(foreign.resolve("notes.txt"), "mine");
    try (DiffusionModel teacher = DiffusionModel.load(Golden.FOLDER, DType.F32)) {
      Provenance provenance =
          Provenance.of(Golden.FOLDER.resolve(UNET), List.of(), Json.MAPPER.createObjectNode());
      assertThatThrownBy(
              () ->
                  StudentWriter.write(
                      teacher,
                      Golden.FOLDER,
                      teacher.unet(),
                      teacher.schedulerConfig(),
                      provenance,
                      DType.F16,
                      foreign))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("holds no model");
    }
    assertThat(foreign.resolve("notes.txt")).hasContent("mine");
  }
}
