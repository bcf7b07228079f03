package org.perflow.distill;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.perflow.delta.Delta;
import org.perflow.delta.DeltaFolder;
import org.perflow.delta.Provenance;
import org.perflow.flow.Recommended;
import org.perflow.io.FolderLock;
import org.perflow.io.Installation;
import org.perflow.memory.Workload;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.UNetConfig;
import org.perflow.models.lora.LoraAdapters;
import org.perflow.models.lora.LoraFile;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.train.CachedExamples;
import org.perflow.train.Catalogue;
import org.perflow.train.LoraOptions;
import org.perflow.train.Objective;
import org.perflow.train.RunConfig;
import org.perflow.train.SampleSheet;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;
import org.perflow.train.TrainingRun;

/**
 * The run that makes a student: from a teacher's folder and data to a student's folder. {@link
 * org.perflow.accelerate.Accelerator} puts one together from what a caller chooses and checks it.
 *
 * @param <O> settings of the method
 * @param teacher diffusers folder
 * @param start diffusers folder whose U-Net the student starts from; null for the teacher's
 * @param shards to learn from
 * @param options of the method
 * @param lora whether all weights are trained or low-rank factors, which are then written too
 * @param teacherAs type that the frozen teacher's weights are kept in; null for the one that it
 *     computes in. A student trained as factors shares its weights with the teacher instead
 * @param saveAs element type of the student's files
 * @param cache folder of what was made of the data: latents and text states; runs of one teacher on
 *     the same data may share it
 * @param out folder of the run
 */
public record StudentRun<O extends Record>(
    Path teacher,
    @Nullable Path start,
    List<Path> shards,
    Method<O> method,
    O options,
    TrainOptions train,
    LoraOptions lora,
    @Nullable DType teacherAs,
    DType saveAs,
    Path cache,
    Path out) {
  public StudentRun {
    shards = List.copyOf(shards);
  }

  /** Where the model goes. */
  public Path student() {
    return out.resolve("student");
  }

  /** Loss over the run. */
  public Path curve() {
    return TrainingRun.curve(out);
  }

  /**
   * The LoRA files of a student that is trained as one, by their format; none are written of one
   * that reads a number beside time, by a layer that such files have no room for.
   */
  public Map<LoraFile.Format, Path> loras() {
    return lora.lowRank()
        ? Map.of(
            LoraFile.Format.KOHYA, out.resolve("lora-kohya.safetensors"),
            LoraFile.Format.PEFT, out.resolve("lora-peft.safetensors"))
        : Map.of();
  }

  /** The effective settings: the run's {@code config.json}. */
  public RunConfig config() {
    return RunConfig.of(train)
        .with("method", method.name())
        .with(method.name(), options)
        .with("lora", lora)
        .with("inputs", inputs());
  }

  private record Inputs(String teacher, @Nullable String start, List<String> data, DType saveAs) {}

  private Inputs inputs() {
    return new Inputs(
        Installation.name(teacher),
        start == null ? null : Installation.name(start),
        shards.stream().map(Installation::name).toList(),
        saveAs);
  }

  /**
   * Trains, and saves the student with its averaged weights.
   *
   * @param data what {@link #shards} hold
   * @param resume whether to go on from the newest checkpoint of {@link #out}
   * @param listeners told of the training, and asked whether to stop it, on this thread
   * @throws IllegalArgumentException where there is nothing to resume, or what can be resumed was
   *     trained by other settings
   * @throws org.perflow.train.DivergedException where loss or gradients are NaN or infinite
   * @throws org.perflow.train.StoppedException where a listener wanted to stop
   */
  public Trainer.Result train(Catalogue data, boolean resume, TrainListener... listeners)
      throws IOException {
    DType type = train.computeType();
    // The loaded U-Net becomes the student; the frozen teacher is a second one.
    try (FolderLock lock = FolderLock.take(out); // before the work that leads to it
        DiffusionModel parts = DiffusionModel.architecture(teacher);
        CachedExamples examples = examples(parts, data, type); // before there is a U-Net in memory
        DiffusionModel model = studentToBe(parts);
        UNet2DConditionModel frozen = frozen(model);
        LoraAdapters adapters = adapters(model);
        Net teacherNet = UnetNet.of(frozen, type, null);
        Net studentNet = UnetNet.of(model.unet(), type, adapters);
        Objective objective =
            method.objective(
                new Task(
                    examples,
                    new Task.Teacher(teacherNet, model.schedulerConfig()),
                    studentNet,
                    start != null,
                    train,
                    out),
                options)) {
      return new TrainingRun(method.name(), config(), out, resume, List.of(listeners))
          .run(objective, () -> samples(examples, model), () -> save(model, adapters));
    }
  }

  /** The teacher's U-Net: of a student trained as factors, the weights below these. */
  private UNet2DConditionModel frozen(DiffusionModel model) throws IOException {
    if (!isTeacherShared()) {
      UNet2DConditionModel network =
          UNet2DConditionModel.load(teacher.resolve("unet"), teacherType());
      network.to(train.device());
      return network;
    }
    try (DiffusionModel architecture = DiffusionModel.architecture(teacher)) {
      UNet2DConditionModel shared = new UNet2DConditionModel(architecture.unet().config());
      shared.share(model.unet());
      return shared;
    }
  }

  /** Whether one memory holds the teacher and what a student's factors add to. */
  private boolean isTeacherShared() {
    return lora.lowRank() && start == null;
  }

  private DType teacherType() {
    return teacherAs == null ? train.computeType() : teacherAs;
  }

  private CachedExamples examples(DiffusionModel model, Catalogue data, DType type)
      throws IOException {
    model.to(train.device());
    model.loadReaders(teacher, DType.F32);
    CachedExamples examples =
        CachedExamples.of(model, data, cache, type, method.mixedCaptions(options));
    if (!needsReaders()) {
      model.closeReaders();
    }
    return examples;
  }

  /** Whether training reads captions or decodes pictures. */
  private boolean needsReaders() {
    return train.sampleEvery() > 0 || method.mixedCaptions(options) > 0;
  }

  /**
   * What the training will take in memory, for {@link org.perflow.memory.Planner}.
   *
   * @param data what {@link #shards} hold
   */
  public Workload workload(Catalogue data) throws IOException {
    return Workload.of(teacher, data, train, lora)
        .with(
            work ->
                work.teacher(isTeacherShared() ? null : teacherType())
                    .beside(method.beside(options))
                    .splits(method.splits(options)));
  }

  /** The teacher's folder with the network to train: its own, or an earlier student's. */
  private DiffusionModel studentToBe(DiffusionModel parts) throws IOException {
    DiffusionModel model = parts;
    model.loadUnet(teacher, DType.F32);
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
    wider.to(model.unet().device());
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

  private ObjectNode sampled(DiffusionModel model) {
    return method.scheduler(model.schedulerConfig(), options);
  }

  private BufferedImage samples(CachedExamples examples, DiffusionModel model) {
    DiffusionModel student = StudentWriter.student(model, model.unet(), sampled(model));
    Recommended own = Recommended.of(student);
    return SampleSheet.of(examples.captions())
        .draw(student, train.computeType(), own.steps(), own.guidance());
  }

  private void save(DiffusionModel model, @Nullable LoraAdapters adapters) throws IOException {
    if (!needsReaders()) {
      model.loadReaders(teacher, saveAs);
    }
    Path base = DeltaFolder.weights(teacher);
    Provenance provenance = Provenance.of(base, shards, config().json());
    StudentWriter.write(
        model, teacher, model.unet(), sampled(model), provenance, saveAs, student());
    if (adapters != null && !model.unet().config().takesTimestepCond()) {
      writeLoras(model, adapters, provenance);
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
