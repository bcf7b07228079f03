package org.perflow.cli;

import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.perflow.cli.options.HelpSections;
import org.perflow.cli.options.HelpSections.Section;
import org.perflow.cli.options.OptionsFromRecords;
import org.perflow.cli.options.RecordOptions;
import org.perflow.cli.terminal.StopOnInterrupt;
import org.perflow.io.Installation;
import org.perflow.io.Json;
import org.perflow.io.Overrides;
import org.perflow.pretrain.Pretraining;
import org.perflow.pretrain.Pretraining.Keep;
import org.perflow.train.ProgressListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code perflow pretrain}. */
@Command(
    name = "pretrain",
    customSynopsis = "perflow pretrain --out=DIR [OPTIONS]",
    description =
        "Trains a text-to-image teacher from scratch: first its VAE, then U-Net and text encoder"
            + " together. Architecture, tokenizer and noise schedule are those of the folder"
            + " --like; its weights are drawn anew unless told otherwise, so it need not have any."
            + " The model goes to OUT/model.",
    footer = {
      "",
      "Examples:",
      "  perflow pretrain --out runs/teacher --steps 0 --minutes 240 --learning-rate 6e-4 \\",
      "      --batch 64 --decay linear --ema 0.9995",
      "  perflow pretrain --like docs/compare/fashion-mnist-32 --data runs/fashion-mnist/data \\",
      "      --out runs/fashion-mnist --steps 10000",
      "  perflow pretrain --keep-vae --out runs/teacher-2 --steps 20000",
      "  perflow pretrain --keep-weights --keep-text-encoder --like models/emoji-64 --out"
          + " runs/longer \\",
      "      --steps 20000"
    })
final class PretrainCommand extends Verb implements OptionsFromRecords {
  /** What everybody sets. */
  private static final List<String> FIRST =
      List.of(
          "--like",
          "--data",
          "--out",
          "--steps",
          "--minutes",
          "--batch",
          "--learning-rate",
          "--vae-steps",
          "--keep-vae",
          "--keep-weights",
          "--keep-text-encoder",
          "--low-memory",
          "--resume",
          "--dry-run",
          "--help");

  @Option(
      names = "--like",
      paramLabel = "MODEL",
      description =
          "Diffusers folder to take the architecture from, or its name on the hub (default:"
              + " models/emoji-64).")
  @Nullable String like;

  @Option(
      names = "--data",
      split = ",",
      paramLabel = "PATH",
      description =
          "Shards, folders with train-*.tar, or folders of pictures with captions, which are"
              + " imported to ~/.cache/perflow (default: the emoji that come with perflow).")
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

  @Option(
      names = "--low-memory",
      description = "Choose settings that fit into this machine's memory.")
  boolean lowMemory;

  @Option(names = "--dry-run", description = "Print the plan of memory and the settings, and stop.")
  boolean dryRun;

  @Option(names = "--resume", description = "Go on from the newest checkpoint of OUT.")
  boolean resume;

  private @Nullable RecordOptions train;

  @Override
  public void addOptions() {
    train = new RecordOptions(spec, TrainOptions.DEFAULTS);
    HelpSections.show(
        spec,
        () ->
            List.of(
                new Section("Options", HelpSections.named(spec, FIRST)),
                new Section("Training", HelpSections.rest(train.of(TrainOptions.DEFAULTS), FIRST)),
                new Section("Output", HelpSections.named(spec, HelpSections.OUTPUT))));
  }

  private record Summary(String model, long steps, double loss, double seconds) {}

  @Override
  void run() throws Exception {
    Path from = fetch(like, Installation.teacher());
    List<Path> shards = ImportProgress.shards(from, data, err());
    Set<Keep> kept = kept();
    TrainOptions options = Overrides.apply(TrainOptions.DEFAULTS, train.changes());
    Pretraining pretraining =
        Pretraining.like(from).data(shards).keep(kept).vaeSteps(vaeSteps).train(options).out(out);
    if (lowMemory) {
      pretraining = pretraining.lowMemory();
    }
    if (dryRun) {
      err().println(pretraining.memory().text());
      out().println(Json.MAPPER.writeValueAsString(pretraining.config().json()));
      return;
    }
    Pretraining.Teacher made;
    try (ProgressListener progress = new ProgressListener();
        StopOnInterrupt stop = new StopOnInterrupt()) {
      made = resume ? pretraining.resume(progress, stop) : pretraining.run(progress, stop);
    }
    Trainer.Result result = made.training();
    report(
        new Summary(made.folder().toString(), result.steps(), result.loss(), result.seconds()),
        "%s: %,d steps in %.0f s, last loss %.4f"
            .formatted(made.folder(), result.steps(), result.seconds(), result.loss()));
  }

  private Set<Keep> kept() {
    if (keepTextEncoder && !keepWeights) {
      throw new IllegalArgumentException(
          "--keep-text-encoder is for a model that goes on training: add --keep-weights");
    }
    Set<Keep> kept = EnumSet.noneOf(Keep.class);
    if (keepVae) {
      kept.add(Keep.VAE);
    }
    if (keepWeights) {
      kept.add(Keep.WEIGHTS);
    }
    if (keepTextEncoder) {
      kept.add(Keep.TEXT_ENCODER);
    }
    return kept;
  }
}
