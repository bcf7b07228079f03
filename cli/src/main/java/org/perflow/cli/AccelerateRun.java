package org.perflow.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.perflow.delta.Delta;
import org.perflow.delta.DeltaFolder;
import org.perflow.delta.Provenance;
import org.perflow.distill.Method;
import org.perflow.distill.Net;
import org.perflow.distill.StudentWriter;
import org.perflow.distill.Task;
import org.perflow.distill.UnetNet;
import org.perflow.distill.perflow.PerflowOptions;
import org.perflow.io.Json;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.UNetConfig;
import org.perflow.models.lora.LoraAdapters;
import org.perflow.models.lora.LoraFile;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.train.CachedExamples;
import org.perflow.train.LoraOptions;
import org.perflow.train.Objective;
import org.perflow.train.ProgressListener;
import org.perflow.train.TensorBoardWriter;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;
import org.perflow.train.TrainingCurve;

/**
 * Training from a teacher's folder to a student's: what {@code accelerate} and {@code demo} do.
 *
 * @param options of the method
 * @param start diffusers folder whose U-Net the student starts from; null for the teacher's
 * @param lora whether all weights are trained or low-rank factors, which are then written too
 * @param saveAs element type of the student's files
 * @param cache folder of what was made of the data: latents and text states; runs of one teacher on
 *     the same data may share it
 * @param out folder of the run
 */
record AccelerateRun<O extends Record>(
    Path teacher,
    @Nullable Path start,
    List<Path> shards,
    Method<O> method,
    O options,
    TrainOptions train,
    LoraOptions lora,
    DType saveAs,
    Path cache,
    Path out) {
  /** Where the model goes. */
  Path student() {
    return out.resolve("student");
  }

  /** Loss over the run. */
  Path curve() {
    return out.resolve("training.csv");
  }

  /**
   * The LoRA files of a student that is trained as one, by their format; none are written of one
   * that reads a number beside time, by a layer that such files have no room for.
   */
  Map<LoraFile.Format, Path> loras() {
    return lora.lowRank()
        ? Map.of(
            LoraFile.Format.KOHYA, out.resolve("lora-kohya.safetensors"),
            LoraFile.Format.PEFT, out.resolve("lora-peft.safetensors"))
        : Map.of();
  }

  /** The effective settings, as the trainer saves them too. */
  ObjectNode config() {
    ObjectNode config = Json.MAPPER.createObjectNode();
    config.set("train", Json.MAPPER.valueToTree(train));
    config.put("method", method.name());
    config.set(method.name(), Json.MAPPER.valueToTree(options));
    config.set("lora", Json.MAPPER.valueToTree(lora));
    config.set("inputs", Json.MAPPER.valueToTree(inputs()));
    return config;
  }

  private record Inputs(String teacher, @Nullable String start, List<String> data, DType saveAs) {}

  private Inputs inputs() {
    return new Inputs(
        Installation.name(teacher),
        start == null ? null : Installation.name(start),
        shards.stream().map(Installation::name).toList(),
        saveAs);
  }

  /** Trains, and saves the student with its averaged weights. */
  Trainer.Result train(boolean resume, TrainListener... listeners) throws IOException {
    Files.createDirectories(out);
    // The loaded U-Net becomes the student; the frozen teacher is a second one in the type that
    // both compute with.
    try (DiffusionModel model = studentToBe();
        UNet2DConditionModel frozen =
            UNet2DConditionModel.load(teacher.resolve("unet"), train.compute());
        CachedExamples examples =
            CachedExamples.of(model, shards, cache, train.compute(), mixing());
        LoraAdapters adapters = adapters(model);
        Net teacherNet = UnetNet.of(frozen, train.compute(), null);
        Net studentNet = UnetNet.of(model.unet(), train.compute(), adapters);
        Objective objective =
            method.objective(
                new Task(
                    examples,
                    new Task.Teacher(teacherNet, model.schedulerConfig()),
                    studentNet,
                    start != null,
                    train,
                    out),
                options);
        Trainer trainer = new Trainer(objective, train, out);
        TensorBoardWriter board = new TensorBoardWriter(out.resolve("tensorboard"));
        TrainingCurve curve = new TrainingCurve(curve());
        ProgressListener progress = new ProgressListener(method.name())) {
      trainer
          .config("method", method.name())
          .config(method.name(), options)
          .config("lora", lora)
          .config("inputs", inputs());
      trainer.listen(progress).listen(board).listen(curve).sampler(() -> samples(examples, model));
      List.of(listeners).forEach(trainer::listen);
      if (resume && !trainer.resume()) {
        throw new IllegalArgumentException(
            out + ": nothing to resume, there is no checkpoint; leave out --resume");
      }
      Trainer.Result result;
      try (StopOnInterrupt stop = new StopOnInterrupt(trainer)) {
        result = trainer.run();
      }
      save(trainer, model, adapters);
      return result;
    }
  }

  /** The teacher's folder with the network to train: its own, or an earlier student's. */
  private DiffusionModel studentToBe() throws IOException {
    DiffusionModel model = Models.load(teacher, DType.F32);
    try {
      UNetConfig wanted = method.student(model.unet().config(), options);
      if (!wanted.equals(model.unet().config())) {
        model = widened(model, wanted);
      }
      if (start != null) {
        try (UNet2DConditionModel earlier =
            UNet2DConditionModel.load(start.resolve("unet"), DType.F32)) {
          model.unet().copySharedFrom(earlier);
        }
      }
      return model;
    } catch (IOException | RuntimeException e) {
      model.close();
      throw e;
    }
  }

  /** The same weights in a network that has layers more, which start so that nothing changes. */
  private DiffusionModel widened(DiffusionModel model, UNetConfig wanted) {
    UNet2DConditionModel wider = new UNet2DConditionModel(wanted);
    try (Rng rng = Rng.seeded(train.seed())) {
      wider.initialise(rng, DType.F32);
    }
    wider.copySharedFrom(model.unet());
    model.unet().close();
    return model.withUnet(wider);
  }

  private @Nullable LoraAdapters adapters(DiffusionModel model) {
    if (!lora.lowRank()) {
      return null;
    }
    try (Rng rng = Rng.seeded(train.seed())) {
      return LoraAdapters.attach(model.unet(), lora.loraRank(), lora.alpha(), rng);
    }
  }

  /** Part of the captions that are put together from pieces of several. */
  private double mixing() {
    return options instanceof PerflowOptions perflow ? perflow.mixedCaptions() : 0;
  }

  private ObjectNode sampled(DiffusionModel model) {
    return method.scheduler(model.schedulerConfig(), options);
  }

  private BufferedImage samples(CachedExamples examples, DiffusionModel model) {
    DiffusionModel student = StudentWriter.student(model, model.unet(), sampled(model));
    return SampleSheet.of(examples.captions())
        .draw(student, train.compute(), Models.defaultSteps(student), Models.guidance(student));
  }

  private void save(Trainer trainer, DiffusionModel model, @Nullable LoraAdapters adapters)
      throws IOException {
    Path base = DeltaFolder.weights(teacher);
    Provenance provenance = Provenance.of(base, shards, trainer.config());
    try {
      trainer.withAverages(
          () -> {
            try {
              StudentWriter.write(
                  model, teacher, model.unet(), sampled(model), provenance, saveAs, student());
              if (adapters != null && !model.unet().config().takesTimestepCond()) {
                writeLoras(model, adapters, provenance);
              }
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }

  private void writeLoras(DiffusionModel model, LoraAdapters adapters, Provenance provenance)
      throws IOException {
    DiffusionModel accelerated = StudentWriter.student(model, model.unet(), sampled(model));
    Map<String, String> header = new TreeMap<>(provenance.asMetadata());
    header.putAll(Delta.sampler(accelerated.schedulerConfig(), model.schedulerConfig()));
    for (var file : loras().entrySet()) {
      LoraFile.write(file.getValue(), adapters.layers(), file.getKey(), saveAs, header);
    }
  }
}
