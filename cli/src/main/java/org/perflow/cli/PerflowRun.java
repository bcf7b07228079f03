package org.perflow.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.io.Json;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;
import org.perflow.train.CachedExamples;
import org.perflow.train.PerflowObjective;
import org.perflow.train.PerflowOptions;
import org.perflow.train.ProgressListener;
import org.perflow.train.Provenance;
import org.perflow.train.StudentWriter;
import org.perflow.train.TensorBoardWriter;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;

/**
 * PeRFlow training from a teacher's folder to a student's: what {@code accelerate} and {@code demo}
 * do.
 *
 * @param start diffusers folder whose U-Net the student starts from; null for the teacher's
 * @param saveAs element type of the student's files
 * @param out folder of the run
 */
record PerflowRun(
    Path teacher,
    @Nullable Path start,
    List<Path> shards,
    PerflowOptions perflow,
    TrainOptions train,
    DType saveAs,
    Path out) {
  /** Where the model goes. */
  Path student() {
    return out.resolve("student");
  }

  /** The effective settings, as the trainer saves them too. */
  ObjectNode config() {
    ObjectNode config = Json.MAPPER.createObjectNode();
    config.set("train", Json.MAPPER.valueToTree(train));
    config.set("perflow", Json.MAPPER.valueToTree(perflow));
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
            CachedExamples.of(model, shards, out.resolve("cache"), train.compute());
        PerflowObjective objective = objective(model, frozen, examples);
        Trainer trainer = new Trainer(objective, train, out);
        TensorBoardWriter board = new TensorBoardWriter(out.resolve("tensorboard"));
        ProgressListener progress = new ProgressListener("perflow")) {
      trainer.config("perflow", perflow).config("inputs", inputs());
      trainer.listen(progress).listen(board).sampler(() -> samples(model));
      List.of(listeners).forEach(trainer::listen);
      if (resume && !trainer.resume()) {
        throw new IllegalArgumentException(
            out + ": nothing to resume, there is no checkpoint; leave out --resume");
      }
      Trainer.Result result;
      try (StopOnInterrupt stop = new StopOnInterrupt(trainer)) {
        result = trainer.run();
      }
      save(trainer, model);
      return result;
    }
  }

  private DiffusionModel studentToBe() throws IOException {
    DiffusionModel model = Models.load(teacher, DType.F32);
    if (start == null) {
      return model;
    }
    try (UNet2DConditionModel earlier =
        UNet2DConditionModel.load(start.resolve("unet"), DType.F32)) {
      model.unet().copyFrom(earlier, DType.F32);
      return model;
    } catch (IOException | RuntimeException e) {
      model.close();
      throw e;
    }
  }

  private PerflowObjective objective(
      DiffusionModel model, UNet2DConditionModel frozen, CachedExamples examples) {
    ObjectNode scheduler = model.schedulerConfig();
    PerflowObjective objective =
        new PerflowObjective(
            examples,
            new PerflowObjective.Teacher(
                PerflowObjective.Network.of(frozen, train.compute()),
                NoiseSchedule.of(scheduler),
                PredictionType.parse(scheduler.path("prediction_type").asText("epsilon"))),
            PerflowObjective.Network.of(model.unet(), train.compute()),
            model.unet().namedParameters(),
            perflow);
    return start == null ? objective : objective.continued();
  }

  private BufferedImage samples(DiffusionModel model) {
    DiffusionModel student = StudentWriter.student(model, model.unet(), perflow);
    return SampleSheet.draw(student, train.compute(), perflow.windows(), Models.guidance(student));
  }

  private void save(Trainer trainer, DiffusionModel model) throws IOException {
    Path base = teacher.resolve("unet/diffusion_pytorch_model.safetensors");
    Provenance provenance = Provenance.of(base, shards, trainer.config());
    try {
      trainer.withAverages(
          () -> {
            try {
              StudentWriter.write(
                  model, teacher, model.unet(), perflow, provenance, saveAs, student());
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }
}
