package org.perflow.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PredictionType;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.tensor.DType;
import org.perflow.train.LoraOptions;
import org.perflow.train.Overrides;
import org.perflow.train.PerflowOptions;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code perflow accelerate}. */
@Command(
    name = "accelerate",
    description =
        "Trains a student that draws in a few steps what the teacher draws in many (PeRFlow). OUT"
            + " holds the run: config.json, checkpoints, samples, TensorBoard events, and at the end"
            + " the model in OUT/student with delta.safetensors. With --lora-rank only low-rank factors"
            + " are trained, and the LoRA is written beside it for kohya's scripts and for diffusers.",
    footer = {
      "",
      "Examples:",
      "  perflow accelerate --out runs/first --steps 0 --minutes 30",
      "  perflow accelerate --teacher models/emoji-64 --data data/emoji-64 --out runs/second \\",
      "      --windows 4 --steps 4000 --batch 32 --learning-rate 1e-4 --sample-every 500",
      "  perflow accelerate --out runs/second --config runs/second/config.json --resume",
      "  perflow accelerate --out runs/lora --lora-rank 32 --learning-rate 3e-4",
      "  perflow accelerate --out runs/x --guidance-mode fixed --guidance 3 --dry-run"
    })
final class AccelerateCommand extends Verb implements OptionsFromRecords {
  private static final String PARAMETERIZATION = "parameterization";

  @Option(
      names = "--teacher",
      paramLabel = "DIR",
      description = "Diffusers folder to accelerate (default: the one that comes with perflow).")
  @Nullable Path teacher;

  @Option(
      names = "--start",
      paramLabel = "DIR",
      description =
          "Diffusers folder of an earlier student to go on from (default: the teacher's weights).")
  @Nullable Path start;

  @Option(
      names = "--data",
      split = ",",
      paramLabel = "PATH",
      description =
          "Shards, or folders with train-*.tar (default: the emoji that come with perflow).")
  @Nullable List<Path> data;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder of the run.")
  Path out;

  @Option(
      names = "--config",
      paramLabel = "JSON",
      description =
          "Settings {\"train\": {...}, \"perflow\": {...}, \"lora\": {...}}, such as the config.json of"
              + " a run; options on the command line come first.")
  @Nullable Path config;

  @Option(
      names = "--save-dtype",
      defaultValue = "float16",
      paramLabel = "TYPE",
      description = "Type of the saved weights (default: ${DEFAULT-VALUE}).")
  String saveDtype;

  @Option(names = "--dry-run", description = "Print the effective settings and stop.")
  boolean dryRun;

  @Option(names = "--resume", description = "Go on from the newest checkpoint of OUT.")
  boolean resume;

  private @Nullable RecordOptions perflow;
  private @Nullable RecordOptions train;
  private @Nullable RecordOptions lora;

  @Override
  public void addOptions() {
    perflow = new RecordOptions(spec, PerflowOptions.DEFAULTS);
    train = new RecordOptions(spec, TrainOptions.DEFAULTS);
    lora = new RecordOptions(spec, LoraOptions.DEFAULTS);
  }

  /** What was made. */
  record Summary(String student, List<String> loras, long steps, double loss, double seconds) {}

  @Override
  void run() throws Exception {
    Path source = teacher == null ? Installation.teacher() : teacher;
    ObjectNode chosen = settings("perflow", perflow.changes());
    suitTeacher(source, chosen);
    PerflowOptions perflowOptions = Overrides.apply(PerflowOptions.DEFAULTS, chosen);
    TrainOptions trainOptions =
        Overrides.apply(TrainOptions.DEFAULTS, settings("train", train.changes()));
    LoraOptions loraOptions =
        Overrides.apply(LoraOptions.DEFAULTS, settings("lora", lora.changes()));
    PerflowRun run =
        new PerflowRun(
            source,
            start,
            Shards.find(data == null ? List.of(Installation.data()) : data, "train-*.tar"),
            perflowOptions,
            trainOptions,
            loraOptions,
            DType.parse(saveDtype),
            out);
    if (dryRun) {
      out().println(Json.MAPPER.writeValueAsString(run.config()));
      return;
    }
    Trainer.Result result = run.train(resume);
    report(
        new Summary(
            run.student().toString(),
            run.loras().values().stream().map(Path::toString).sorted().toList(),
            result.steps(),
            result.loss(),
            result.seconds()),
        "%s: %,d steps in %.0f s, last loss %.4f"
            .formatted(run.student(), result.steps(), result.seconds(), result.loss()));
  }

  /** The parameterisation that goes with what the teacher predicts, where none is chosen. */
  private void suitTeacher(Path folder, ObjectNode chosen) throws IOException {
    Path file = folder.resolve("scheduler/scheduler_config.json");
    if (!Files.exists(file)) {
      return; // a folder without one is refused when it is loaded
    }
    PredictionType prediction = PredictionType.of(Json.read(file));
    if (!chosen.has(PARAMETERIZATION)) {
      chosen.put(PARAMETERIZATION, Parameterization.natural(prediction).name());
    }
    Overrides.apply(PerflowOptions.DEFAULTS, chosen).parameterization().requireStart(prediction);
  }

  /** The file's section, then the command line. */
  private ObjectNode settings(String section, ObjectNode changes) throws IOException {
    ObjectNode merged = Json.MAPPER.createObjectNode();
    if (config != null) {
      JsonNode file = Json.read(config);
      for (var entry : file.properties()) {
        // "inputs" is what a run writes about itself; it is not a setting
        if (!Set.of("train", "perflow", "lora", "inputs").contains(entry.getKey())) {
          throw new FormatException(
              "%s: unknown key \"%s\", expected \"train\", \"perflow\" and \"lora\""
                  .formatted(config, entry.getKey()));
        }
      }
      if (file.get(section) instanceof ObjectNode settings) {
        merged.setAll(settings);
      }
    }
    merged.setAll(changes);
    return merged;
  }
}
