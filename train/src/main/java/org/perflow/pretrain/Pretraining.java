package org.perflow.pretrain;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.soabase.recordbuilder.core.RecordBuilder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.perflow.delta.DeltaFolder;
import org.perflow.delta.Provenance;
import org.perflow.flow.NoiseSchedule;
import org.perflow.io.FolderLock;
import org.perflow.io.FormatException;
import org.perflow.io.Installation;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.io.Shards;
import org.perflow.memory.MemoryPlan;
import org.perflow.memory.Planner;
import org.perflow.memory.Workload;
import org.perflow.models.AutoencoderKL;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.train.Captions;
import org.perflow.train.Catalogue;
import org.perflow.train.LatentCache;
import org.perflow.train.RunConfig;
import org.perflow.train.SampleSheet;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;
import org.perflow.train.TrainingRun;

/**
 * The front door to teachers of one's own: trains a text-to-image model from captioned pictures,
 * first its VAE, then U-Net and text encoder together. Architecture, tokenizer and noise schedule
 * are those of a folder, whose weights are drawn anew unless they are kept.
 *
 * <pre>{@code
 * Pretraining.Teacher teacher =
 *     Pretraining.like(Path.of("models/emoji-64"))
 *         .data(Path.of("data/emoji-64"))
 *         .train(TrainOptions.DEFAULTS.withSteps(20_000))
 *         .out(Path.of("runs/teacher"))
 *         .run(new ProgressListener());
 * System.out.println(teacher.folder() + " has a last loss of " + teacher.training().loss());
 * }</pre>
 *
 * <p>Immutable. A run computes on the thread that calls it and frees all its native memory.
 */
public final class Pretraining {
  private static final int SAMPLE_STEPS = 20; // of the pictures that show how far it has come
  private static final double SAMPLE_GUIDANCE = 3;

  private final Settings settings;

  /** What is not drawn anew. */
  public enum Keep {
    /** The VAE's weights, as they are. */
    VAE,
    /** All weights: U-Net and text encoder go on training from theirs, the VAE stays as it is. */
    WEIGHTS,
    /** With {@link #WEIGHTS}, also the text encoder as it is; nearly twice as fast. */
    TEXT_ENCODER
  }

  /**
   * What was made.
   *
   * @param folder the teacher's diffusers folder
   * @param curve loss over the run, a CSV file
   * @param training of U-Net and text encoder: steps, last loss and seconds
   */
  public record Teacher(Path folder, Path curve, Trainer.Result training) {}

  /**
   * What is chosen.
   *
   * @param known what the data hold, where they were read for a plan of memory already
   */
  @RecordBuilder
  record Settings(
      Path like,
      List<Path> data,
      @Nullable Catalogue known,
      Set<Keep> kept,
      int vaeSteps,
      TrainOptions train,
      @Nullable Path out)
      implements PretrainingSettingsBuilder.With {
    boolean keepsWeights() {
      return kept.contains(Keep.WEIGHTS);
    }

    boolean keepsVae() {
      return keepsWeights() || kept.contains(Keep.VAE);
    }
  }

  private Pretraining(Settings settings) {
    this.settings = settings;
  }

  /** A model of the architecture of a diffusers folder, which need not have weights. */
  public static Pretraining like(Path folder) {
    return new Pretraining(
        new Settings(folder, List.of(), null, Set.of(), 2000, TrainOptions.DEFAULTS, null));
  }

  /** Shards of captioned pictures, or folders with {@code train-*.tar}. */
  public Pretraining data(Path... shardsOrFolders) {
    return data(List.of(shardsOrFolders));
  }

  /** The same from a list. */
  public Pretraining data(List<Path> shardsOrFolders) {
    return new Pretraining(settings.withData(List.copyOf(shardsOrFolders)).withKnown(null));
  }

  /**
   * What keeps its weights; else all are drawn anew.
   *
   * @throws IllegalArgumentException where the text encoder is kept alone
   */
  public Pretraining keep(Set<Keep> parts) {
    if (parts.contains(Keep.TEXT_ENCODER) && !parts.contains(Keep.WEIGHTS)) {
      throw new IllegalArgumentException(
          "a text encoder is kept where the model goes on training: keep its weights, too");
    }
    return new Pretraining(settings.withKept(Set.copyOf(parts)));
  }

  /** Optimiser steps of the VAE; else 2000. */
  public Pretraining vaeSteps(int steps) {
    if (steps < 1) {
      throw new IllegalArgumentException("vaeSteps must be 1 or more; got " + steps);
    }
    return new Pretraining(settings.withVaeSteps(steps));
  }

  /** Settings of the training of U-Net and text encoder; else {@link TrainOptions#DEFAULTS}. */
  public Pretraining train(TrainOptions options) {
    return new Pretraining(settings.withTrain(options));
  }

  /** Folder of the run: config, checkpoints, samples and, at the end, the model. */
  public Pretraining out(Path folder) {
    return new Pretraining(settings.withOut(folder));
  }

  /** The effective settings, as the run's {@code config.json} has them. */
  public RunConfig config() throws IOException {
    ObjectNode inputs = Json.MAPPER.createObjectNode();
    inputs.put("like", Installation.name(settings.like()));
    inputs.put("keepWeights", settings.keepsWeights());
    inputs.put("keepVae", settings.kept().contains(Keep.VAE));
    inputs.put("keepTextEncoder", settings.kept().contains(Keep.TEXT_ENCODER));
    inputs.put("vaeSteps", settings.vaeSteps());
    List<Path> shards = Shards.train(settings.data());
    inputs.set("data", Json.MAPPER.valueToTree(shards.stream().map(Installation::name).toList()));
    return RunConfig.of(settings.out() == null ? settings.train() : settled(settings.out()))
        .with("inputs", inputs);
  }

  /** What the run will take in memory, and what would make it fit where it does not. */
  public MemoryPlan memory() throws IOException {
    return Planner.plan(workload(catalogue()));
  }

  /**
   * The same run with what settings take less memory, the cheapest first, until it fits; as it is
   * where it fits already.
   *
   * @throws IllegalArgumentException where all of them do not make it fit
   */
  public Pretraining lowMemory() throws IOException {
    Catalogue data = catalogue();
    Workload work = workload(data);
    Workload less =
        Planner.fitted(work)
            .orElseThrow(() -> new IllegalArgumentException(Planner.plan(work).text()));
    return new Pretraining(settings.withKnown(data).withTrain(less.train()));
  }

  private Workload workload(Catalogue data) throws IOException {
    TrainOptions train = settings.out() == null ? settings.train() : settled(settings.out());
    return Workload.ofPretraining(
        settings.like(),
        data,
        train,
        !settings.kept().contains(Keep.TEXT_ENCODER),
        !settings.keepsVae());
  }

  /** What the data hold: every picture is passed once, which takes long where they are many. */
  private Catalogue catalogue() throws IOException {
    Catalogue known = settings.known();
    return known == null ? Catalogue.of(Shards.train(settings.data())) : known;
  }

  /** The VAE is trained first, in a run of its own that the element type may be known from. */
  private TrainOptions settled(Path folder) throws IOException {
    Path first = vaeRun(folder);
    return RunConfig.settled(settings.train(), isBegun(first) ? first : folder);
  }

  private static Path vaeRun(Path folder) {
    return folder.resolve("vae-run");
  }

  private static boolean isBegun(Path run) {
    return Files.exists(run.resolve("checkpoints"));
  }

  /**
   * Trains a teacher in a new folder, once it has told what that takes in memory.
   *
   * @param listeners told of both trainings, "vae" and "pretrain", and asked whether to stop them
   * @throws IOException where files cannot be read or written, or the folder already holds a run
   * @throws org.perflow.train.DivergedException where loss or gradients are NaN or infinite
   * @throws org.perflow.train.StoppedException where a listener wanted to stop
   */
  public Teacher run(TrainListener... listeners) throws IOException {
    return made(false, listeners);
  }

  /** Goes on with a run that was stopped, from the newest checkpoint of what it was at. */
  public Teacher resume(TrainListener... listeners) throws IOException {
    return made(true, listeners);
  }

  private Teacher made(boolean resume, TrainListener... listeners) throws IOException {
    Path out = settings.out();
    if (out == null || settings.data().isEmpty()) {
      throw new IllegalArgumentException(
          "a run needs data to learn from and a folder to write to; got %s and %s"
              .formatted(settings.data(), out));
    }
    try (FolderLock lock = FolderLock.take(out)) { // before data are read for the plan
      Catalogue data = catalogue();
      String plan = Planner.plan(workload(data)).text();
      for (TrainListener listener : listeners) {
        listener.onNote(plan);
      }
      return new Run(data, out, resume, listeners).teacher();
    }
  }

  /** One call, which has the folder for itself. */
  private final class Run {
    private final List<TrainListener> listeners;
    private final TrainOptions train; // its element type is settled
    private final boolean resume;
    private final Path folder;
    private final Catalogue data;

    Run(Catalogue data, Path folder, boolean resume, TrainListener[] listeners) throws IOException {
      this.data = data;
      this.folder = folder;
      this.resume = resume;
      this.listeners = List.of(listeners);
      this.train = settled(folder);
    }

    Teacher teacher() throws IOException {
      Path target = folder.resolve("model");
      try (DiffusionModel model = begun();
          AutoencoderKL vae = vae(model.vae())) {
        if (!settings.keepsWeights()) {
          try (Rng rng = Rng.seeded(settings.train().seed())) {
            model.unet().initialise(rng, DType.F32);
            model.textEncoder().initialise(rng, DType.F32);
          }
        }
        Trainer.Result result = train(model.withVae(vae), target);
        return new Teacher(target, TrainingRun.curve(folder), result);
      }
    }

    /** With weights where some are kept. */
    private DiffusionModel begun() throws IOException {
      if (settings.kept().isEmpty() && Files.isDirectory(settings.like())) {
        DiffusionModel model = DiffusionModel.withoutWeights(settings.like());
        model.to(train.device());
        return model;
      }
      try {
        return DiffusionModel.load(settings.like(), DType.F32, train.device());
      } catch (FormatException e) {
        throw settings.kept().isEmpty()
            ? e
            : new FormatException(
                e.getMessage() + "; of a folder without weights none can be kept", e);
      }
    }

    /** The autoencoder: as it is, trained by the run that is resumed, or trained now. */
    private AutoencoderKL vae(AutoencoderKL given) throws IOException {
      Path trained = folder.resolve("vae");
      if (settings.keepsVae()) {
        return given;
      }
      if (resume && Files.exists(trained)) {
        return trained(trained);
      }
      try (Rng rng = Rng.seeded(settings.train().seed())) {
        given.initialise(rng, DType.F32);
      }
      TrainOptions vaeTraining =
          TrainOptions.DEFAULTS
              .withWarmup(Math.min(50, settings.vaeSteps()))
              .withSteps(settings.vaeSteps())
              .withLearningRate(1e-3)
              .withDecay(TrainOptions.Decay.COSINE)
              .withCompute(train.compute())
              .withDevice(train.device())
              .withSeed(train.seed())
              .withCheckpointEvery(train.checkpointEvery());
      try (VaeObjective objective =
          new VaeObjective(given, ShardReader.readAll(data.shards()), vaeTraining.computeType())) {
        new TrainingRun(
                "vae",
                RunConfig.of(vaeTraining),
                vaeRun(folder),
                resume && isBegun(vaeRun(folder)),
                listeners)
            .run(objective, null, () -> saveScaled(given, trained));
      }
      return trained(trained);
    }

    private AutoencoderKL trained(Path vae) throws IOException {
      AutoencoderKL model = AutoencoderKL.load(vae, DType.F32);
      model.to(train.device());
      return model;
    }

    /** Saves a copy whose scaling factor brings the latents to deviation 1. */
    private void saveScaled(AutoencoderKL vae, Path target) throws IOException {
      try (LatentCache latents = latents(vae)) {
        double factor = vae.config().scalingFactor() / latents.deviation();
        try (AutoencoderKL copy = new AutoencoderKL(vae.config().withScalingFactor(factor))) {
          copy.copyFrom(vae, DType.F32);
          copy.save(target, DType.F32, Map.of());
        }
      }
    }

    private LatentCache latents(AutoencoderKL vae) throws IOException {
      return LatentCache.of(vae, data, folder.resolve("cache/latents.safetensors"));
    }

    private Trainer.Result train(DiffusionModel model, Path target) throws IOException {
      try (LatentCache latents = latents(model.vae());
          Captions captions = Captions.of(model.tokenizer(), data.samples());
          PretrainObjective objective = objective(model, latents, captions)) {
        SampleSheet sheet = SampleSheet.of(data.samples().stream().map(Sample::caption).toList());
        RunConfig config = config();
        Path base = settings.keepsWeights() ? DeltaFolder.weights(settings.like()) : null;
        Provenance provenance = Provenance.of(base, data.shards(), config.json());
        // what is resumed may have got no further than the VAE
        boolean goesOn = resume && (isBegun(folder) || !isBegun(vaeRun(folder)));
        return new TrainingRun("pretrain", config, folder, goesOn, listeners)
            .run(
                objective,
                () -> sheet.draw(model, train.computeType(), SAMPLE_STEPS, SAMPLE_GUIDANCE),
                () -> {
                  model.save(target, DType.F16, provenance.asMetadata());
                  provenance.write(target);
                });
      }
    }

    private PretrainObjective objective(
        DiffusionModel model, LatentCache latents, Captions captions) {
      PretrainObjective both =
          new PretrainObjective(
              latents,
              captions,
              model.unet(),
              model.textEncoder(),
              NoiseSchedule.of(model.schedulerConfig()),
              train.computeType());
      return settings.kept().contains(Keep.TEXT_ENCODER) ? both.keepingText() : both;
    }
  }
}
