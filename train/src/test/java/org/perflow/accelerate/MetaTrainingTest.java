package org.perflow.accelerate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.perflow.distill.Method;
import org.perflow.distill.Task;
import org.perflow.distill.UnetNet;
import org.perflow.flow.NoiseSchedule;
import org.perflow.io.Json;
import org.perflow.io.Overrides;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.io.ShardWriter;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.lora.LoraAdapters;
import org.perflow.pretrain.PretrainObjective;
import org.perflow.pretrain.VaeObjective;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.CachedExamples;
import org.perflow.train.Captions;
import org.perflow.train.Catalogue;
import org.perflow.train.LatentCache;
import org.perflow.train.Objective;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;

/**
 * Steps of every training (forward, backward, clipping, optimiser, averages) on libtorch's device
 * without data, which refuses tensors of the CPU among its own and every read of a value: so a GPU
 * is never waited for between two records of the log.
 */
class MetaTrainingTest {
  private static final Path MODELS = Path.of("../models/src/test/resources/golden/models");
  private static final int STEPS = 3;
  private static final TrainOptions TRAINING =
      TrainOptions.DEFAULTS
          .withDevice(Device.META)
          .withSteps(100)
          .withBatch(8)
          .withAccumulate(2)
          .withEma(0.9)
          .withLogEvery(50)
          .withCheckpointEvery(50);

  private static final Map<String, Object> SMALL =
      Map.of("pairs", 8, "pairSteps", 2, "chordPool", 64);

  /** Those of teachers' pictures, which are made, and kept on the host, before there are steps. */
  private static final List<String> OF_PAIRS = List.of("reflow", "instaflow", "shortcut");

  @TempDir static Path shared;
  private static Path shard;
  @TempDir Path temp;

  @BeforeAll
  static void pictures() throws IOException {
    Device.threads(1);
    shard = shared.resolve("train-0.tar");
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB), "png", png);
    try (ShardWriter writer = new ShardWriter(shard)) {
      for (int i = 0; i < 16; i++) {
        ObjectNode none = Json.MAPPER.createObjectNode();
        writer.write(new Sample("", "p" + i, png.toByteArray(), "a red apple, fruit", none));
      }
      writer.finish();
    }
  }

  /** What ends a run that has done all that it should. */
  private static final class Enough extends RuntimeException {
    private static final long serialVersionUID = 1;
  }

  /** {@code inner} for a few steps; what it reads before the first one is left out. */
  private record Few(Objective inner, int micro, List<Tensor> losses) implements Objective {
    @Override
    public Map<String, Parameter> parameters() {
      return inner.parameters();
    }

    @Override
    public int examples() {
      return inner.examples();
    }

    @Override
    public Tensor loss(Step step) {
      if (losses.size() == micro) {
        throw new Enough();
      }
      Tensor loss = inner.loss(step);
      assertThat(loss.device()).isEqualTo(Device.META);
      losses.add(loss);
      return loss;
    }

    @Override
    public Map<String, Tensor> state() {
      return inner.state();
    }
  }

  private void trains(Objective objective, TrainOptions options) throws IOException {
    List<Tensor> losses = new ArrayList<>();
    int micro = STEPS * options.accumulate();
    try (Trainer trainer = new Trainer(new Few(objective, micro, losses), options, temp)) {
      assertThatThrownBy(trainer::run).isInstanceOf(Enough.class);
    }
    assertThat(losses).hasSize(micro);
  }

  static List<Method<?>> all() {
    return Methods.ALL;
  }

  @ParameterizedTest
  @MethodSource("all")
  void methodsTrainThere(Method<?> method) throws IOException {
    step(method, false);
  }

  @ParameterizedTest
  @MethodSource("all")
  void methodsTrainLorasThere(Method<?> method) throws IOException {
    step(method, true);
  }

  private <O extends Record> void step(Method<O> method, boolean lora) throws IOException {
    try (Rng rng = Rng.seeded(0);
        DiffusionModel model = DiffusionModel.load(MODELS.resolve("sd15"), DType.F32);
        UNet2DConditionModel teacher =
            UNet2DConditionModel.load(MODELS.resolve("sd15/unet"), DType.BF16)) {
      ObjectNode scheduler = model.schedulerConfig();
      O options = small(method, scheduler);
      Catalogue catalogue = Catalogue.of(List.of(shard));
      try (CachedExamples data =
              CachedExamples.of(
                  model,
                  catalogue,
                  temp.resolve("cache"),
                  DType.BF16,
                  method.mixedCaptions(options));
          UNet2DConditionModel student =
              new UNet2DConditionModel(method.student(model.unet().config(), options))) {
        student.initialise(rng, DType.F32);
        if (!OF_PAIRS.contains(method.name())) {
          moveAll(data, model, teacher, student);
        }
        try (LoraAdapters adapters = lora ? LoraAdapters.attach(student, 2, 2, rng) : null;
            Objective objective =
                method.objective(
                    new Task(
                        data,
                        new Task.Teacher(UnetNet.of(teacher, DType.BF16, null), scheduler),
                        UnetNet.of(student, DType.BF16, adapters),
                        false,
                        TRAINING,
                        temp),
                    options)) {
          moveAll(data, model, teacher, student);
          if (adapters != null) {
            adapters.to(Device.META);
          }
          trains(objective, TRAINING);
        }
      }
    }
  }

  private static void moveAll(
      CachedExamples data,
      DiffusionModel model,
      UNet2DConditionModel teacher,
      UNet2DConditionModel student) {
    model.to(Device.META);
    teacher.to(Device.META);
    student.to(Device.META);
    data.to(Device.META);
  }

  private static <O extends Record> O small(Method<O> method, ObjectNode scheduler) {
    O options = method.suited(scheduler, method.defaults());
    ObjectNode changes = Json.MAPPER.createObjectNode();
    for (RecordComponent component : options.getClass().getRecordComponents()) {
      Object value = SMALL.get(component.getName());
      if (value != null) {
        changes.set(component.getName(), Json.MAPPER.valueToTree(value));
      }
    }
    return Overrides.apply(options, changes);
  }

  /** U-Net and text encoder, or with the encoder's states kept; in blocks computed twice, too. */
  @ParameterizedTest
  @CsvSource({"false,false", "true,false", "false,true"})
  void pretrainingRunsThere(boolean keepsText, boolean twice) throws IOException {
    Catalogue data = Catalogue.of(List.of(shard));
    Path cache = temp.resolve("latents.safetensors");
    try (DiffusionModel model = DiffusionModel.load(MODELS.resolve("sd15"), DType.F32);
        LatentCache latents = LatentCache.of(model.vae(), data, cache);
        Captions captions = Captions.of(model.tokenizer(), data.samples())) {
      model.to(Device.META);
      latents.to(Device.META);
      PretrainObjective both =
          new PretrainObjective(
              latents,
              captions,
              model.unet(),
              model.textEncoder(),
              NoiseSchedule.of(model.schedulerConfig()),
              DType.BF16);
      try (PretrainObjective objective = keepsText ? both.keepingText() : both) {
        trains(objective, TRAINING.withGradientCheckpointing(twice));
      }
    }
  }

  @Test
  void autoencodersTrainThere() throws IOException {
    List<Sample> samples = ShardReader.readAll(List.of(shard));
    try (DiffusionModel model = DiffusionModel.load(MODELS.resolve("sd15"), DType.F32);
        VaeObjective objective = new VaeObjective(model.vae(), samples, DType.BF16)) {
      model.to(Device.META);
      trains(objective, TRAINING);
    }
  }
}
