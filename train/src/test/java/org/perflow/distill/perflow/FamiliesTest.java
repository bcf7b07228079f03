package org.perflow.distill.perflow;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.delta.DeltaFolder;
import org.perflow.delta.Provenance;
import org.perflow.distill.StudentWriter;
import org.perflow.distill.Task;
import org.perflow.distill.UnetNet;
import org.perflow.distill.perflow.PerflowOptions.GuidanceMode;
import org.perflow.flow.Conditioning;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.TimeWindows;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardWriter;
import org.perflow.models.CLIPTextModel;
import org.perflow.models.ClipTextConfig;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.PromptEncoder;
import org.perflow.pipeline.Request;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.CachedExamples;
import org.perflow.train.Captions;
import org.perflow.train.Catalogue;
import org.perflow.train.Gaussian;
import org.perflow.train.Golden;
import org.perflow.train.MixedCaptions;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;

/** Tiny models of Stable Diffusion XL and 2.1 from a folder and shards to a student that draws. */
class FamiliesTest {
  private static final Path MODELS = Golden.FOLDER.getParent();
  private static final Path XL = MODELS.resolve("sdxl");

  @TempDir Path temp;
  private Path shard;

  @BeforeEach
  void writeShard() throws IOException {
    shard = temp.resolve("train-0.tar");
    try (ShardWriter writer = new ShardWriter(shard)) {
      for (int i = 0; i < 4; i++) {
        BufferedImage image = new BufferedImage(48, 32, BufferedImage.TYPE_INT_RGB);
        image.setRGB(4 * i, 8, 0xff8800);
        ByteArrayOutputStream png = new ByteArrayOutputStream();
        ImageIO.write(image, "png", png);
        ObjectNode none = Json.MAPPER.createObjectNode();
        writer.write(new Sample("", "p" + i, png.toByteArray(), "picture " + i, none));
      }
      writer.finish();
    }
  }

  private CachedExamples examples(DiffusionModel model, DType type) throws IOException {
    return CachedExamples.of(model, Catalogue.of(List.of(shard)), temp.resolve("cache"), type, 0);
  }

  @Test
  void xlIsToldPooledCaptionsAndSizes() throws IOException {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0);
        DiffusionModel model = DiffusionModel.load(XL, DType.F32)) {
      PromptEncoder encoder = PromptEncoder.of(model);
      for (int run = 0; run < 2; run++) { // encoded, then read from the file
        try (CachedExamples data = examples(model, DType.F32)) {
          assertSame(
              data.conditions(new long[] {2, 0}, rng),
              encoder.encode(List.of("picture 2", "picture 0"), 1, 32, 48));
          assertSame(data.nullCondition(), encoder.encode(List.of(""), 1, 32, 48));
          assertThat(data.nullCondition().added().timeIds().toFloatArray())
              .containsExactly(32, 48, 0, 0, 32, 48);
        }
      }
    }
  }

  @Test
  void mixedCaptionsAreEncodedAsWrittenOnesAre() throws IOException {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0);
        Rng again = Rng.seeded(0);
        DiffusionModel model = DiffusionModel.load(XL, DType.F32);
        CachedExamples data =
            CachedExamples.of(
                model, Catalogue.of(List.of(shard)), temp.resolve("cache"), DType.F32, 0.5)) {
      List<String> pictures = List.of("picture 0", "picture 1", "picture 2", "picture 3");
      Captions.rows(new long[] {1, 3, 2, 0}, again);
      List<String> expected =
          new ArrayList<>(new MixedCaptions(pictures, model.tokenizer().words()).draw(2, again));
      expected.addAll(List.of("picture 2", "picture 0"));
      assertSame(
          data.conditions(new long[] {1, 3, 2, 0}, rng),
          PromptEncoder.of(model).encode(expected, 1, 32, 48));
    }
  }

  private static void assertSame(Conditioning got, Conditioning wanted) {
    assertThat(got.tensors()).hasSameSizeAs(wanted.tensors());
    for (int i = 0; i < got.tensors().size(); i++) {
      Golden.assertClose("part " + i, got.tensors().get(i), wanted.tensors().get(i), 1e-5);
    }
  }

  @Test
  void aDroppedXlCaptionIsDroppedFromItsPooledVectorToo() throws IOException {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0);
        DiffusionModel model = DiffusionModel.load(XL, DType.F32);
        CachedExamples data = examples(model, DType.F32)) {
      PerflowOptions options = options();
      Task task = task(data, model, model.unet(), DType.F32);
      NoiseSchedule schedule = task.teacher().schedule();
      ChordSource source =
          new ChordSource(task, options, new PfOdeSolver(schedule, task.teacher().prediction(), 2));
      Conditioning told = data.conditions(new long[] {0, 1}, rng);
      Tensor z = Tensor.randn(rng, 2, 4, 16, 24);
      var draw =
          new ChordSource.Draw(z, z, new double[] {1, 0.5}, told, new boolean[] {true, false});
      var flow = new PiecewiseFlow(schedule, new TimeWindows(4), options.parameterization());
      Conditioning seen = source.solved(flow, draw, 1).condition();
      assertSame(seen.narrow(0, 1), told.narrow(0, 1));
      assertSame(seen.narrow(1, 1), data.nullCondition());
    }
  }

  private static PerflowOptions options() {
    return PerflowOptions.DEFAULTS.withSolvingSteps(2);
  }

  private static PerflowObjective objective(
      CachedExamples data,
      DiffusionModel teacher,
      UNet2DConditionModel student,
      DType type,
      PerflowOptions options) {
    return new PerflowObjective(task(data, teacher, student, type), options);
  }

  private static Task task(
      CachedExamples data, DiffusionModel teacher, UNet2DConditionModel student, DType type) {
    return Gaussian.task(
        data,
        new Task.Teacher(UnetNet.of(teacher.unet(), type, null), teacher.schedulerConfig()),
        UnetNet.of(student, type, null));
  }

  /** Trains in bfloat16 with gradient checkpointing; returns all losses of this sitting. */
  private List<Double> train(Path teacher, PerflowOptions options, int steps, String run)
      throws IOException {
    TrainOptions training =
        TrainOptions.DEFAULTS
            .withSteps(steps)
            .withBatch(2)
            .withWarmup(0)
            .withGradientCheckpointing(true);
    List<Double> losses = new ArrayList<>();
    try (DiffusionModel model = DiffusionModel.load(teacher, DType.F32);
        UNet2DConditionModel student = new UNet2DConditionModel(model.unet().config());
        CachedExamples data = examples(model, DType.BF16)) {
      student.copyFrom(model.unet(), DType.F32);
      try (PerflowObjective objective = objective(data, model, student, DType.BF16, options);
          Trainer trainer = new Trainer(objective, training, temp.resolve(run))) {
        trainer.listen(
            new TrainListener() {
              @Override
              public void onStep(Report report) {
                losses.add(report.loss());
              }
            });
        trainer.resume();
        trainer.run();
        Provenance provenance =
            Provenance.of(DeltaFolder.weights(teacher), List.of(shard), trainer.config().json());
        Path out = temp.resolve(run + "-student");
        StudentWriter.write(
            model,
            teacher,
            student,
            PerflowMethod.MEASURED.scheduler(model.schedulerConfig(), options),
            provenance,
            DType.F16,
            out);
      }
    }
    return losses;
  }

  /** The picture that the written student draws in four steps. */
  private int[] draw(String run) throws IOException {
    try (Pipeline pipe = Pipeline.load(temp.resolve(run + "-student"))) {
      BufferedImage image =
          pipe.draw(Request.of("picture 1").withSteps(4).withSize(48, 32).withGuidance(2));
      return image.getRGB(0, 0, 48, 32, null, 0, 48);
    }
  }

  @Test
  void acceleratesXlAndResumesToTheBit() throws IOException {
    for (PerflowOptions options : List.of(options(), fixedFromAPool())) {
      String name = options.guidanceMode().name();
      List<Double> whole = train(XL, options, 2, name);
      List<Double> parts = new ArrayList<>(train(XL, options, 1, name + "-parts"));
      parts.addAll(train(XL, options, 2, name + "-parts"));
      assertThat(parts).isEqualTo(whole).hasSize(2);
      assertThat(draw(name)).isEqualTo(draw(name + "-parts"));
      try (DiffusionModel written =
          DiffusionModel.load(temp.resolve(name + "-student"), DType.F32)) {
        assertThat(written.second().forceZerosForEmptyPrompt()).isFalse();
      }
    }
  }

  /** Guidance and kept chords hold captions of their own. */
  private static PerflowOptions fixedFromAPool() {
    return options().with(o -> o.guidanceMode(GuidanceMode.FIXED).guidance(3).chordPool(32));
  }

  @Test
  void acceleratesAVelocityTeacher() throws IOException {
    Path teacher = temp.resolve("sd21");
    writeSd21(teacher);
    PerflowOptions options = options().withParameterization(Parameterization.VELOCITY);
    List<Double> losses = train(teacher, options, 3, "v");
    assertThat(losses).hasSize(3).allMatch(Double::isFinite);
    assertThat(draw("v")).hasSize(48 * 32);
    Path scheduler = temp.resolve("v-student/scheduler/scheduler_config.json");
    assertThat(Json.read(scheduler).path("prediction_type").asText()).isEqualTo("velocity");
  }

  /** The U-Net of 2.1 as published files have it, with a text encoder of its width. */
  private static void writeSd21(Path folder) throws IOException {
    ObjectNode wide = (ObjectNode) Json.read(Golden.FOLDER.resolve("text_encoder/config.json"));
    wide.put("hidden_size", 40);
    try (Rng rng = Rng.seeded(0);
        DiffusionModel sd15 = DiffusionModel.load(Golden.FOLDER, DType.F32);
        CLIPTextModel text = new CLIPTextModel(ClipTextConfig.of(wide));
        UNet2DConditionModel unet =
            UNet2DConditionModel.load(MODELS.resolve("sd21-unet"), DType.F32)) {
      text.initialise(rng, DType.F32);
      ObjectNode scheduler = sd15.schedulerConfig().put("prediction_type", "v_prediction");
      new DiffusionModel(unet, sd15.vae(), text, sd15.tokenizer(), scheduler)
          .save(folder, DType.F32, Map.of());
    }
  }
}
