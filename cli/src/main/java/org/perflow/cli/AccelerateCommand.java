package org.perflow.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.perflow.accelerate.Accelerator;
import org.perflow.accelerate.EqualCost;
import org.perflow.accelerate.Methods;
import org.perflow.accelerate.Presets;
import org.perflow.cli.options.HelpSections;
import org.perflow.cli.options.HelpSections.Section;
import org.perflow.cli.options.OptionsFromRecords;
import org.perflow.cli.options.RecordOptions;
import org.perflow.cli.terminal.StopOnInterrupt;
import org.perflow.distill.Method;
import org.perflow.io.FormatException;
import org.perflow.io.Installation;
import org.perflow.io.Json;
import org.perflow.io.Overrides;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.train.LoraOptions;
import org.perflow.train.ProgressListener;
import org.perflow.train.RunConfig;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** {@code perflow accelerate}. */
@Command(
    name = "accelerate",
    customSynopsis = "perflow accelerate --out=DIR [--method=NAME] [OPTIONS]",
    description =
        "Trains a student that draws in a few steps what the teacher draws in many. OUT"
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
  /** Of a side, above which pictures take long to draw. */
  private static final int FEW_PIXELS = 128;

  /** What everybody sets. */
  private static final List<String> FIRST =
      List.of(
          "--teacher",
          "--data",
          "--out",
          "--method",
          "--steps",
          "--minutes",
          "--batch",
          "--learning-rate",
          "--preset",
          "--low-memory",
          "--resume",
          "--config",
          "--dry-run",
          "--help");

  @Option(
      names = "--teacher",
      paramLabel = "MODEL",
      description = "Diffusers folder, or its name on the hub (default: emoji-64).")
  @Nullable String teacher;

  @Option(
      names = "--method",
      paramLabel = "NAME",
      converter = ByName.class,
      description = "How (default: perflow); the list is below.")
  @Nullable Method<?> method;

  @Option(
      names = "--preset",
      paramLabel = "NAME",
      description = "Settings by family: sd15, sd21, sdxl, small or lora.")
  @Nullable String preset;

  @Option(
      names = "--low-memory",
      description = "Choose settings that fit into this machine's memory.")
  boolean lowMemory;

  @Option(
      names = "--teacher-dtype",
      paramLabel = "TYPE",
      description =
          "Type that the frozen teacher's weights are kept in, such as float16 (default: the one it"
              + " computes in).")
  @Nullable String teacherDtype;

  @Option(
      names = "--evaluate",
      paramLabel = "N",
      description =
          "Pictures by which the student is compared at the end with the teacher's samplers at the"
              + " same cost; 0 for none (default: 16, or 4 where pictures have more than 128 pixels a"
              + " side).")
  @Nullable Integer evaluate;

  @Option(
      names = "--start",
      paramLabel = "MODEL",
      description =
          "Diffusers folder of an earlier student to go on from (default: the teacher's weights).")
  @Nullable String start;

  @Option(
      names = "--data",
      split = ",",
      paramLabel = "PATH",
      description =
          "Shards, folders with train-*.tar, or folders of pictures with captions, which are imported"
              + " to ~/.cache/perflow (default: the emoji that come with perflow).")
  @Nullable List<Path> data;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder of the run.")
  Path out;

  @Option(
      names = "--config",
      paramLabel = "JSON",
      description =
          "Settings {\"method\": \"perflow\", \"perflow\": {...}, \"train\": {...}, \"lora\": {...}},"
              + " such as the config.json of a run; options on the command line come first.")
  @Nullable Path config;

  @Option(
      names = "--save-dtype",
      defaultValue = "float16",
      paramLabel = "TYPE",
      description = "Type of the saved weights (default: ${DEFAULT-VALUE}).")
  String saveDtype;

  @Option(names = "--dry-run", description = "Print the plan of memory and the settings, and stop.")
  boolean dryRun;

  @Option(names = "--resume", description = "Go on from the newest checkpoint of OUT.")
  boolean resume;

  private @Nullable RecordOptions ofMethods;
  private @Nullable RecordOptions train;
  private @Nullable RecordOptions lora;

  /** The method of that name. */
  private static final class ByName implements ITypeConverter<Method<?>> {
    @Override
    public Method<?> convert(String name) {
      try {
        return Methods.of(name);
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage());
      }
    }
  }

  @Override
  public void addOptions() {
    ofMethods =
        new RecordOptions(spec, Methods.ALL.stream().map(Method::defaults).toArray(Record[]::new));
    train = new RecordOptions(spec, TrainOptions.DEFAULTS);
    lora = new RecordOptions(spec, LoraOptions.DEFAULTS);
    spec.usageMessage().footer(footer());
    HelpSections.show(spec, this::sections);
  }

  /** One screen, and with a method all there is to be set. */
  private List<Section> sections() {
    List<Section> sections = new ArrayList<>();
    sections.add(new Section("Options", HelpSections.named(spec, FIRST)));
    if (method != null) {
      List<OptionSpec> training =
          new ArrayList<>(
              HelpSections.named(spec, List.of("--start", "--teacher-dtype", "--evaluate")));
      training.addAll(HelpSections.rest(train.of(TrainOptions.DEFAULTS), FIRST));
      training.addAll(lora.of(method.lora()));
      sections.add(new Section("Settings of " + method.name(), ofMethods.of(method.defaults())));
      sections.add(new Section("Training", training));
      sections.add(new Section("Output", HelpSections.named(spec, HelpSections.OUTPUT)));
    }
    return sections;
  }

  /** One line a method, then the examples. */
  private String[] footer() {
    List<String> lines =
        new ArrayList<>(
            List.of(
                "",
                "Methods (--method NAME --help lists the settings of one, and more of training and"
                    + " output):"));
    for (Method<?> each : Methods.ALL) {
      lines.add("  %-17s %s".formatted(each.name(), each.advice()));
    }
    lines.addAll(List.of(spec.usageMessage().footer()));
    return lines.toArray(String[]::new);
  }

  /** What was made. */
  record Summary(
      String student,
      List<String> loras,
      long steps,
      double loss,
      double seconds,
      @Nullable List<EqualCost.Row> evaluation) {}

  @Override
  void run() throws Exception {
    RunConfig file = file();
    Method<?> chosen =
        method == null ? Methods.of(file.json().path("method").asText("perflow")) : method;
    refuseUnknownSections(file, chosen);
    Accelerator accelerator = accelerator(chosen, file);
    if (dryRun) {
      err().println(accelerator.memory().text());
      out().println(Json.MAPPER.writeValueAsString(accelerator.config().json()));
      return;
    }
    Accelerator.Student made;
    try (ProgressListener progress = new ProgressListener();
        StopOnInterrupt stop = new StopOnInterrupt()) {
      made = resume ? accelerator.resume(progress, stop) : accelerator.run(progress, stop);
    }
    Trainer.Result result = made.training();
    report(
        new Summary(
            made.folder().toString(),
            made.loras().values().stream().map(Path::toString).sorted().toList(),
            result.steps(),
            result.loss(),
            result.seconds(),
            made.bought() == null ? null : made.bought().rows()),
        "%s: %,d steps in %.0f s, last loss %.4f; more in %s"
            .formatted(
                made.folder(),
                result.steps(),
                result.seconds(),
                result.loss(),
                out.resolve("README.md")));
  }

  /** The preset's settings, in their place those of the file. */
  private RunConfig file() throws IOException {
    RunConfig base =
        preset == null ? new RunConfig(Json.MAPPER.createObjectNode()) : Presets.of(preset);
    if (config == null) {
      return base;
    }
    ObjectNode merged = base.json();
    for (var section : RunConfig.read(config).json().properties()) {
      if (merged.get(section.getKey()) instanceof ObjectNode before
          && section.getValue() instanceof ObjectNode after) {
        before.setAll(after);
      } else {
        merged.set(section.getKey(), section.getValue());
      }
    }
    return new RunConfig(merged);
  }

  /** The command line as it was given, as a shell reads it. */
  private String line() {
    List<String> words = new ArrayList<>(List.of("perflow", spec.name()));
    for (String word : spec.commandLine().getParseResult().originalArgs()) {
      if (!word.equals(spec.name()) || words.size() > 2) {
        words.add(word.matches("[\\w./:=,@+-]+") ? word : "'" + word.replace("'", "'\\''") + "'");
      }
    }
    return String.join(" ", words);
  }

  private int evaluated(Path teacherFolder) throws IOException {
    if (evaluate != null) {
      return evaluate;
    }
    return DiffusionModel.pixels(teacherFolder) > FEW_PIXELS ? 4 : 16;
  }

  private <O extends Record> Accelerator accelerator(Method<O> how, RunConfig file)
      throws IOException {
    ObjectNode chosen = settings(file, how.name(), ofMethods.changes());
    refuseOthersSettings(how, chosen);
    Path from = fetch(teacher, Installation.teacher());
    Accelerator accelerator =
        Accelerator.of(from)
            .data(ImportProgress.shards(from, data, err()))
            .method(how, suited -> Overrides.apply(suited, chosen))
            .train(Overrides.apply(TrainOptions.DEFAULTS, settings(file, "train", train.changes())))
            .lora(Overrides.apply(how.lora(), settings(file, "lora", lora.changes())))
            .saveAs(DType.parse(saveDtype))
            .evaluate(evaluated(from))
            .command(line())
            .out(out);
    if (teacherDtype != null) {
      accelerator = accelerator.teacherAs(DType.parse(teacherDtype));
    }
    if (start != null) {
      accelerator = accelerator.start(fetch(start));
    }
    return lowMemory ? accelerator.lowMemory() : accelerator;
  }

  private static void refuseOthersSettings(Method<?> how, ObjectNode chosen) {
    Set<String> known = new TreeSet<>();
    for (RecordComponent component : how.defaults().getClass().getRecordComponents()) {
      known.add(component.getName());
    }
    for (var setting : chosen.properties()) {
      if (!known.contains(setting.getKey())) {
        throw new IllegalArgumentException(
            "%s is no setting of the method %s; it has %s"
                .formatted(
                    RecordOptions.option(setting.getKey()),
                    how.name(),
                    String.join(" ", known.stream().map(RecordOptions::option).toList())));
      }
    }
  }

  private void refuseUnknownSections(RunConfig file, Method<?> how) throws FormatException {
    // "inputs" is what a run writes about itself; it is not a setting
    Set<String> known = Set.of("method", how.name(), "train", "lora", "inputs");
    for (var entry : file.json().properties()) {
      if (!known.contains(entry.getKey())) {
        throw new FormatException(
            "%s: unknown key \"%s\", expected \"method\", \"%s\", \"train\" and \"lora\""
                .formatted(config, entry.getKey(), how.name()));
      }
    }
  }

  /** The file's section, then the command line. */
  private static ObjectNode settings(RunConfig file, String section, ObjectNode changes) {
    ObjectNode merged = file.section(section);
    merged.setAll(changes);
    return merged;
  }
}
