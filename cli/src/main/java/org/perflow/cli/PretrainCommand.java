package org.perflow.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.delta.DeltaFolder;
import org.perflow.delta.Provenance;
import org.perflow.flow.NoiseSchedule;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.Overrides;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.models.AutoencoderKL;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.train.Captions;
import org.perflow.train.LatentCache;
import org.perflow.train.Objective;
import org.perflow.train.PretrainObjective;
import org.perflow.train.ProgressListener;
import org.perflow.train.TensorBoardWriter;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;
import org.perflow.train.TrainingCurve;
import org.perflow.train.VaeObjective;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code perflow pretrain}. */
@Command(
    name = "pretrain",
    description =
        "Trains a text-to-image teacher from scratch: first its VAE, then U-Net and text encoder"
            + " together. Architecture, tokenizer and noise schedule are those of the folder --like;"
            + " its weights are drawn anew unless told otherwise, so it need not have any. The model"
            + " goes to OUT/model.",
    footer = {
      "",
      "Examples:",
      "  perflow pretrain --out runs/teacher --steps 0 --minutes 240 --learning-rate 6e-4 \\",
      "      --batch 64 --decay linear --ema 0.9995",
      "  perflow pretrain --like docs/compare/fashion-mnist-32 --data runs/fashion-mnist/data \\",
      "      --out runs/fashion-mnist --steps 10000",
      "  perflow pretrain --keep-vae --out runs/teacher-2 --steps 20000",
      "  perflow pretrain --keep-weights --keep-text-encoder --like models/emoji-64 --out runs/longer \\",
      "      --steps 20000"
    })
final class PretrainCommand extends Verb implements OptionsFromRecords {
  @Option(
      names = "--like",
      paramLabel = "DIR",
      description = "Diffusers folder to take the architecture from (default: models/emoji-64).")
  @Nullable Path like;

  @Option(
      names = "--data",
      split = ",",
      paramLabel = "PATH",
      description =
          "Shards, or folders with train-*.tar (default: the emoji that come with perflow).")
  @Nullable List<Path> data;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder of the run.")
  Path out;

  @Option(names = "--keep-vae", description = "Keep the VAE's weights of --like.")
  boolean keepVae;

  @Option(
      names = "--keep-weights",
      description = "Go on training the weights of --like, the VAE's as they are.")
  boolean keepWeights;

  @Option(
      names = "--keep-text-encoder",
      description =
          "Also keep the text encoder as it is, with --keep-weights: the U-Net trains alone, nearly"
              + " twice as fast.")
  boolean keepTextEncoder;

  @Option(
      names = "--vae-steps",
      defaultValue = "2000",
      paramLabel = "N",
      description = "Optimiser steps of the VAE (default: ${DEFAULT-VALUE}).")
  int vaeSteps;

  @Option(names = "--dry-run", description = "Print the effective settings and stop.")
  boolean dryRun;

  @Option(names = "--resume", description = "Go on from the newest checkpoint of OUT.")
  boolean resume;

  private @Nullable RecordOptions train;

  @Override
  public void addOptions() {
    train = new RecordOptions(spec, TrainOptions.DEFAULTS);
  }

  private record Summary(String model, long steps, double loss, double seconds) {}

  @Override
  void run() throws Exception {
    TrainOptions options = Overrides.apply(TrainOptions.DEFAULTS, train.changes());
    if (keepTextEncoder && !keepWeights) {
      throw new IllegalArgumentException(
          "--keep-text-encoder is for a model that goes on training: add --keep-weights");
    }
    Path template = like == null ? Installation.teacher() : like;
    List<Path> shards =
        Shards.find(data == null ? List.of(Installation.data()) : data, "train-*.tar");
    ObjectNode inputs = Json.MAPPER.createObjectNode();
    inputs.put("like", Installation.name(template)).put("keepWeights", keepWeights);
    inputs.put("keepVae", keepVae).put("keepTextEncoder", keepTextEncoder);
    inputs.put("vaeSteps", vaeSteps);
    inputs.set("data", Json.MAPPER.valueToTree(shards.stream().map(Installation::name).toList()));
    if (dryRun) {
      ObjectNode config = Json.MAPPER.createObjectNode();
      config.set("train", Json.MAPPER.valueToTree(options));
      config.set("inputs", inputs);
      out().println(Json.MAPPER.writeValueAsString(config));
      return;
    }
    Path target = out.resolve("model");
    List<Sample> samples = ShardReader.readAll(shards);
    try (DiffusionModel loaded = load(template);
        AutoencoderKL vae = vae(loaded.vae(), samples, shards, options)) {
      if (!keepWeights) {
        try (Rng rng = Rng.seeded(options.seed())) {
          loaded.unet().initialise(rng, DType.F32);
          loaded.textEncoder().initialise(rng, DType.F32);
        }
      }
      Trainer.Result result =
          trainModel(loaded.withVae(vae), samples, shards, options, template, inputs, target);
      report(
          new Summary(target.toString(), result.steps(), result.loss(), result.seconds()),
          "%s: %,d steps in %.0f s, last loss %.4f"
              .formatted(target, result.steps(), result.seconds(), result.loss()));
    }
  }

  /** With weights where some are kept. */
  private DiffusionModel load(Path template) throws IOException {
    if (!keepVae && !keepWeights && Files.isDirectory(template)) {
      return DiffusionModel.withoutWeights(template);
    }
    try {
      return Models.load(template, DType.F32);
    } catch (FormatException e) {
      String kept = keepVae ? "--keep-vae" : keepWeights ? "--keep-weights" : null;
      throw kept == null
          ? e
          : new FormatException(
              e.getMessage() + "; where there are no weights to keep, leave out " + kept, e);
    }
  }

  /** The autoencoder: as it is, trained by the run that is resumed, or trained now. */
  private AutoencoderKL vae(
      AutoencoderKL given, List<Sample> samples, List<Path> shards, TrainOptions options)
      throws IOException {
    Path folder = out.resolve("vae");
    if (keepVae || keepWeights) {
      return given;
    }
    if (resume && Files.exists(folder)) {
      return AutoencoderKL.load(folder, DType.F32);
    }
    try (Rng rng = Rng.seeded(options.seed())) {
      given.initialise(rng, DType.F32);
    }
    TrainOptions settings =
        TrainOptions.DEFAULTS
            .with("warmup", Math.min(50, vaeSteps))
            .with("steps", vaeSteps)
            .with("learningRate", 1e-3)
            .with("decay", TrainOptions.Decay.COSINE)
            .with("compute", options.compute())
            .with("seed", options.seed())
            .with("checkpointEvery", options.checkpointEvery());
    try (VaeObjective objective = new VaeObjective(given, samples, options.compute())) {
      Saver saver = () -> scaled(given, samples, shards).save(folder, DType.F32, Map.of());
      train("vae", objective, settings, vaeRun(), null, null, isBegun(vaeRun()), saver);
    }
    return AutoencoderKL.load(folder, DType.F32);
  }

  /** A copy whose scaling factor brings the latents to deviation 1. */
  private AutoencoderKL scaled(AutoencoderKL vae, List<Sample> samples, List<Path> shards)
      throws IOException {
    try (LatentCache latents = LatentCache.of(vae, samples, shards, cache())) {
      double factor = vae.config().scalingFactor() / latents.deviation();
      AutoencoderKL copy = new AutoencoderKL(vae.config().withScalingFactor(factor));
      copy.copyFrom(vae, DType.F32);
      return copy;
    }
  }

  private Path vaeRun() {
    return out.resolve("vae-run");
  }

  /** Whether there is something to go on from, which was asked for. */
  private boolean isBegun(Path run) {
    return resume && Files.exists(run.resolve("checkpoints"));
  }

  private Path cache() {
    return out.resolve("cache/latents.safetensors");
  }

  private Trainer.Result trainModel(
      DiffusionModel model,
      List<Sample> samples,
      List<Path> shards,
      TrainOptions options,
      Path template,
      ObjectNode inputs,
      Path target)
      throws IOException {
    try (LatentCache latents = LatentCache.of(model.vae(), samples, shards, cache());
        Captions captions = Captions.of(model.tokenizer(), samples);
        PretrainObjective objective = objective(model, latents, captions, options)) {
      SampleSheet sheet = SampleSheet.of(samples.stream().map(Sample::caption).toList());
      ObjectNode config = Json.MAPPER.createObjectNode();
      config.set("train", Json.MAPPER.valueToTree(options));
      config.set("inputs", inputs);
      Path base = keepWeights ? DeltaFolder.weights(template) : null;
      Provenance provenance = Provenance.of(base, shards, config);
      return train(
          "pretrain",
          objective,
          options,
          out,
          inputs,
          () -> sheet.draw(model, options.compute(), 20, 3),
          resume && (isBegun(out) || !isBegun(vaeRun())), // it may have got no further than the VAE
          () -> {
            model.save(target, DType.F16, provenance.asMetadata());
            provenance.write(target);
          });
    }
  }

  private PretrainObjective objective(
      DiffusionModel model, LatentCache latents, Captions captions, TrainOptions options) {
    PretrainObjective both =
        new PretrainObjective(
            latents,
            captions,
            model.unet(),
            model.textEncoder(),
            NoiseSchedule.of(model.schedulerConfig()),
            options.compute());
    return keepTextEncoder ? both.keepingText() : both;
  }

  /** What is done with the averaged weights at the end of a run. */
  interface Saver {
    void save() throws IOException;
  }

  /** Trains into {@code folder}, shows and records the run, and saves. */
  static Trainer.Result train(
      String name,
      Objective objective,
      TrainOptions options,
      Path folder,
      @Nullable ObjectNode inputs,
      Trainer.@Nullable Sampler sampler,
      boolean resume,
      Saver saver)
      throws IOException {
    Files.createDirectories(folder);
    try (Trainer trainer = new Trainer(objective, options, folder);
        TensorBoardWriter board = new TensorBoardWriter(folder.resolve("tensorboard"));
        TrainingCurve curve = new TrainingCurve(folder.resolve("training.csv"));
        ProgressListener progress = new ProgressListener(name)) {
      trainer.listen(progress).listen(board).listen(curve);
      if (inputs != null) {
        trainer.config("inputs", inputs);
      }
      if (sampler != null) {
        trainer.sampler(sampler);
      }
      if (resume && !trainer.resume()) {
        throw new IllegalArgumentException(
            folder + ": nothing to resume, there is no checkpoint; leave out --resume");
      }
      Trainer.Result result;
      try (StopOnInterrupt stop = new StopOnInterrupt(trainer)) {
        result = trainer.run();
      }
      trainer.withAverages(
          () -> {
            try {
              saver.save();
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
      return result;
    }
  }
}
