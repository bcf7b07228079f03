package org.perflow.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.NoiseSchedule;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.io.Weights;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.train.Captions;
import org.perflow.train.LatentCache;
import org.perflow.train.Objective;
import org.perflow.train.Overrides;
import org.perflow.train.PretrainObjective;
import org.perflow.train.ProgressListener;
import org.perflow.train.Provenance;
import org.perflow.train.TensorBoardWriter;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;
import org.perflow.train.VaeObjective;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code perflow pretrain}. */
@Command(
    name = "pretrain",
    description =
        "Trains a text-to-image teacher from scratch: first its VAE, then U-Net and text encoder"
            + " together. Architecture, tokenizer and noise schedule are those of the folder --like;"
            + " its weights are drawn anew. The model goes to OUT/model.",
    footer = {
      "",
      "Examples:",
      "  perflow pretrain --out runs/teacher --steps 0 --minutes 240 --learning-rate 6e-4 \\",
      "      --batch 64 --decay linear --ema 0.9995",
      "  perflow pretrain --keep-vae --out runs/teacher-2 --steps 20000"
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
    Path template = like == null ? Installation.teacher() : like;
    List<Path> shards =
        Shards.find(data == null ? List.of(Installation.data()) : data, "train-*.tar");
    ObjectNode inputs = Json.MAPPER.createObjectNode();
    inputs.put("like", template.toString()).put("keepVae", keepVae).put("vaeSteps", vaeSteps);
    inputs.set("data", Json.MAPPER.valueToTree(shards.stream().map(Path::toString).toList()));
    if (dryRun) {
      ObjectNode config = Json.MAPPER.createObjectNode();
      config.set("train", Json.MAPPER.valueToTree(options));
      config.set("inputs", inputs);
      out().println(Json.MAPPER.writeValueAsString(config));
      return;
    }
    Path target = out.resolve("model");
    try (DiffusionModel model = Models.load(template, DType.F32)) {
      List<Sample> samples = ShardReader.readAll(shards);
      try (Rng rng = Rng.seeded(options.seed())) {
        model.unet().initialise(rng, DType.F32);
        model.textEncoder().initialise(rng, DType.F32);
        if (!keepVae && !reuseVae(model)) {
          model.vae().initialise(rng, DType.F32);
          trainVae(model, samples, options);
        }
      }
      Trainer.Result result = trainModel(model, samples, shards, options, inputs, target);
      report(
          new Summary(target.toString(), result.steps(), result.loss(), result.seconds()),
          "%s: %,d steps in %.0f s, last loss %.4f"
              .formatted(target, result.steps(), result.seconds(), result.loss()));
    }
  }

  /** A resumed run has its VAE already. */
  private boolean reuseVae(DiffusionModel model) throws IOException {
    Path trained = out.resolve("vae/diffusion_pytorch_model.safetensors");
    if (!resume || !Files.exists(trained)) {
      return false;
    }
    Weights.load(model.vae(), trained, DType.F32);
    return true;
  }

  private void trainVae(DiffusionModel model, List<Sample> samples, TrainOptions options)
      throws IOException {
    TrainOptions vae =
        TrainOptions.DEFAULTS
            .with("warmup", Math.min(50, vaeSteps))
            .with("steps", vaeSteps)
            .with("learningRate", 1e-3)
            .with("decay", TrainOptions.Decay.COSINE)
            .with("compute", options.compute())
            .with("seed", options.seed());
    try (VaeObjective objective = new VaeObjective(model.vae(), samples, options.compute())) {
      train("vae", objective, vae, out.resolve("vae-run"), null, false, () -> saveVae(model));
    }
  }

  private void saveVae(DiffusionModel model) throws IOException {
    model.vae().save(out.resolve("vae"), DType.F32, Map.of());
  }

  private Trainer.Result trainModel(
      DiffusionModel model,
      List<Sample> samples,
      List<Path> shards,
      TrainOptions options,
      ObjectNode inputs,
      Path target)
      throws IOException {
    try (LatentCache latents =
            LatentCache.of(model.vae(), samples, shards, out.resolve("cache/latents.safetensors"));
        Captions captions = Captions.of(model.tokenizer(), samples)) {
      PretrainObjective objective =
          new PretrainObjective(
              latents,
              captions,
              model.unet(),
              model.textEncoder(),
              NoiseSchedule.of(model.schedulerConfig()),
              options.compute());
      Provenance provenance =
          Provenance.of(null, shards, Json.MAPPER.valueToTree(Map.of("train", options)));
      return train(
          "pretrain",
          objective,
          options,
          out,
          inputs,
          resume,
          () -> {
            model.save(target, DType.F16, provenance.asMetadata());
            provenance.write(target);
          });
    }
  }

  /** What is done with the averaged weights at the end of a run. */
  private interface Saver {
    void save() throws IOException;
  }

  private static Trainer.Result train(
      String name,
      Objective objective,
      TrainOptions options,
      Path folder,
      @Nullable ObjectNode inputs,
      boolean resume,
      Saver saver)
      throws IOException {
    Files.createDirectories(folder);
    try (Trainer trainer = new Trainer(objective, options, folder);
        TensorBoardWriter board = new TensorBoardWriter(folder.resolve("tensorboard"));
        ProgressListener progress = new ProgressListener(name)) {
      trainer.listen(progress).listen(board);
      if (inputs != null) {
        trainer.config("inputs", inputs);
      }
      if (resume && !trainer.resume()) {
        throw new IllegalArgumentException(
            folder + ": nothing to resume, there is no checkpoint; leave out --resume");
      }
      Trainer.Result result = trainer.run();
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
