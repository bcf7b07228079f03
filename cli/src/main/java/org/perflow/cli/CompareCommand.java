package org.perflow.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.perflow.accelerate.Accelerator;
import org.perflow.accelerate.Methods;
import org.perflow.distill.Method;
import org.perflow.distill.StudentRun;
import org.perflow.evaluate.Case;
import org.perflow.evaluate.Estimate;
import org.perflow.evaluate.Evaluated;
import org.perflow.evaluate.Evaluation;
import org.perflow.evaluate.FeatureNetwork;
import org.perflow.evaluate.SampledModel;
import org.perflow.evaluate.TensorCache;
import org.perflow.evaluate.TextAgreement;
import org.perflow.io.Installation;
import org.perflow.io.Json;
import org.perflow.io.Overrides;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.io.Shards;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.report.Charts;
import org.perflow.report.EvaluationReport;
import org.perflow.report.MeasurementsJson;
import org.perflow.report.Report;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.train.ProgressListener;
import org.perflow.train.RunConfig;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;
import org.perflow.train.TrainingCurve;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code perflow compare}. */
@Command(
    name = "compare",
    description =
        "Trains several methods on one teacher with one budget, and measures them and the teacher's"
            + " samplers from the same noise. Where the plan says transfer, what each student learned"
            + " is then added to another fine-tune of the teacher, and measured there. What is trained"
            + " already is not trained again, and a run that was cut off goes on. OUT gets a folder an"
            + " entry, report.html, its tables as report.md, plots, grid.png and measurements.json;"
            + " OUT/transfer gets its own grid.png and measurements.json.",
    footer = {
      "",
      "Examples:",
      "  perflow compare docs/compare/emoji-64.yaml --out runs/compare",
      "  perflow compare docs/compare/emoji-64.yaml --out runs/compare --only ddim,perflow"
    })
final class CompareCommand extends Verb {
  @Parameters(paramLabel = "YAML", description = "The plan: teacher, data, budget, entries.")
  Path file;

  @Option(
      names = "--only",
      split = ",",
      paramLabel = "NAME",
      description = "Entries to take part, by the names of their folders (default: all).")
  @Nullable List<String> only;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder to write to.")
  Path out;

  /** What training an entry took; beside its student as {@code training.json}. */
  record Training(
      String method,
      long steps,
      long images,
      double preparation,
      double seconds,
      double loss,
      double peakGigabytes) {}

  /** Everything, for JSON. */
  private record Result(
      MeasurementsJson comparison,
      Map<String, Training> training,
      TransferRun.@Nullable Result transfer) {}

  /** A trained entry. */
  private record Trained(ComparePlan.Entry entry, StudentRun<?> run, Training training) {}

  /** An entry with its model, if it has one of its own. */
  private record Entrant(ComparePlan.Entry entry, DiffusionModel model, boolean owned) {}

  @Override
  void run() throws Exception {
    ComparePlan plan = ComparePlan.read(file);
    List<ComparePlan.Entry> entries = chosen(plan);
    Map<ComparePlan.Entry, StudentRun<?>> runs = new LinkedHashMap<>();
    for (ComparePlan.Entry entry : entries) { // all settings are checked before any is trained
      if (entry.method() != null) {
        runs.put(entry, prepare(plan, entry, Methods.of(entry.method())));
      }
    }
    Optional<TransferRun> transfer =
        plan.transfer() == null
            ? Optional.empty()
            : Optional.of(TransferRun.of(plan, teacher(plan), data(plan), out.resolve("transfer")));
    if (transfer.isPresent()) { // what it cannot do shows before the methods have taken their time
      err().println("fine-tune of the transfer: " + transfer.get().fineTune());
    }
    List<Trained> trained = new ArrayList<>();
    for (var each : runs.entrySet()) {
      err().println("training " + each.getKey().name());
      trained.add(new Trained(each.getKey(), each.getValue(), train(each.getValue())));
    }
    measure(plan, folders(entries, runs), trained, transfer);
  }

  /** Where the entries' models lie; an entry of the teacher's has none. */
  private static Map<ComparePlan.Entry, Optional<Path>> folders(
      List<ComparePlan.Entry> entries, Map<ComparePlan.Entry, StudentRun<?>> runs) {
    Map<ComparePlan.Entry, Optional<Path>> folders = new LinkedHashMap<>();
    for (ComparePlan.Entry entry : entries) {
      Optional<Path> own = Optional.ofNullable(entry.model()).map(Installation::find);
      folders.put(
          entry, Optional.ofNullable(runs.get(entry)).map(StudentRun::student).or(() -> own));
    }
    return folders;
  }

  private List<ComparePlan.Entry> chosen(ComparePlan plan) {
    if (only == null) {
      return plan.entries();
    }
    List<String> known = plan.entries().stream().map(ComparePlan.Entry::slug).toList();
    for (String name : only) {
      if (!known.contains(name)) {
        throw new IllegalArgumentException("--only " + name + ": the entries are " + known);
      }
    }
    return plan.entries().stream().filter(entry -> only.contains(entry.slug())).toList();
  }

  // ---------------------------------------------------------------- training

  private <O extends Record> StudentRun<?> prepare(
      ComparePlan plan, ComparePlan.Entry entry, Method<O> method) throws IOException {
    ObjectNode train = Json.MAPPER.createObjectNode();
    train.setAll(orEmpty(plan.train()));
    train.setAll(orEmpty(entry.train()));
    try {
      Accelerator accelerator =
          Accelerator.of(teacher(plan))
              .data(data(plan))
              .method(method, suited -> Overrides.apply(suited, orEmpty(entry.options())))
              .train(Overrides.apply(TrainOptions.DEFAULTS, train))
              .lora(Overrides.apply(method.lora(), orEmpty(entry.lora())))
              .cache(out.resolve("cache"))
              .out(out.resolve(entry.slug()));
      return accelerator.prepare();
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("'" + entry.name() + "': " + e.getMessage(), e);
    }
  }

  private static ObjectNode orEmpty(@Nullable ObjectNode node) {
    return node == null ? Json.MAPPER.createObjectNode() : node;
  }

  /** Trains what is not trained; refuses a folder that was trained with other settings. */
  private Training train(StudentRun<?> run) throws IOException {
    Path done = run.out().resolve("training.json");
    refuseOtherSettings(run.out(), run.config());
    if (Files.exists(done)) {
      err().println("  trained already: " + run.student());
      return Json.read(done, Training.class);
    }
    long[] peak = new long[1];
    TrainListener memory =
        new TrainListener() {
          @Override
          public void onStep(Report report) {
            peak[0] = Math.max(peak[0], Scope.physicalBytes());
          }
        };
    boolean resume = Files.isDirectory(run.out().resolve("checkpoints"));
    Trainer.Result result;
    try (ProgressListener progress = new ProgressListener();
        StopOnInterrupt stop = new StopOnInterrupt()) {
      result = run.train(resume, memory, progress, stop);
    }
    Training training =
        new Training(
            run.method().name(),
            result.steps(),
            result.steps() * run.train().batch() * run.train().accumulate(),
            result.preparation(),
            result.seconds(),
            result.loss(),
            peak[0] / 1e9);
    Json.write(done, training);
    return training;
  }

  /** Refuses a folder that holds a run with other settings than it is to have now. */
  static void refuseOtherSettings(Path folder, RunConfig wanted) throws IOException {
    if (!Files.exists(folder.resolve("config.json"))) {
      return;
    }
    List<String> differences = wanted.differences(RunConfig.in(folder));
    if (!differences.isEmpty()) {
      throw new IllegalArgumentException(
          "%s/config.json was written with other settings than the plan has now: %s; choose another --out, or move that folder away"
              .formatted(folder, String.join(", ", differences)));
    }
  }

  // ---------------------------------------------------------------- measuring

  private void measure(
      ComparePlan plan,
      Map<ComparePlan.Entry, Optional<Path>> folders,
      List<Trained> trained,
      Optional<TransferRun> transfer)
      throws IOException {
    List<Entrant> entrants = new ArrayList<>();
    try (DiffusionModel teacher = DiffusionModel.load(teacher(plan), DType.F32);
        FeatureNetwork features = FeatureNetwork.load(Installation.features())) {
      try {
        for (var each : folders.entrySet()) {
          boolean owned = each.getValue().isPresent();
          DiffusionModel model = owned ? DiffusionModel.load(each.getValue().get(), DType.F32) : teacher;
          entrants.add(new Entrant(each.getKey(), model, owned));
        }
        TensorCache cache = new TensorCache(out.resolve("cache"));
        Evaluation.Options options =
            new Evaluation.Options(
                plan.batch(), DType.parse(plan.dtype()), 4, 48, 4, 8, cache, true);
        Evaluated evaluated = compare(plan, teacher, entrants, features, options);
        Optional<TransferRun.Outcome> moved = Optional.empty();
        if (transfer.isPresent()) {
          new EvaluationReport("", evaluated).writeFigures(out); // kept, should the transfer be cut off
          moved =
              Optional.of(
                  transfer
                      .get()
                      .measure(students(folders, entrants), features, options, this::tell));
        }
        write(plan, evaluated, trained, moved, settings(plan, features, transfer));
      } finally {
        entrants.stream().filter(Entrant::owned).forEach(entrant -> entrant.model().close());
      }
    }
  }

  private void tell(String line) {
    err().println(line);
  }

  /** The folders of those that a teacher was accelerated to. */
  private static Map<ComparePlan.Entry, Path> students(
      Map<ComparePlan.Entry, Optional<Path>> folders, List<Entrant> entrants) {
    Map<ComparePlan.Entry, Path> students = new LinkedHashMap<>();
    for (Entrant entrant : entrants) {
      Optional<Path> folder = folders.get(entrant.entry());
      if (folder.isPresent() && SchedulerConfig.isStudents(entrant.model().schedulerConfig())) {
        students.put(entrant.entry(), folder.get());
      }
    }
    return students;
  }

  private Evaluated compare(
      ComparePlan plan,
      DiffusionModel teacher,
      List<Entrant> entrants,
      FeatureNetwork features,
      Evaluation.Options options)
      throws IOException {
    List<SampledModel> systems = new ArrayList<>();
    for (Entrant entrant : entrants) {
      systems.addAll(systems(plan, entrant.entry(), entrant.model()));
    }
    List<Path> held = Shards.test(data(plan));
    List<Sample> real = ShardReader.readAll(held);
    try (TextAgreement text = reader(teacher, features, options.cache(), real)) {
      Estimate ceiling = text == null ? null : text.agreement(real);
      return Evaluated.of(
          new SampledModel(
              "Teacher, DDIM", teacher, "ddim", plan.referenceSteps(), plan.guidance()),
          systems,
          Case.of(real.stream().map(Sample::caption).toList(), plan.pictures(), plan.seed()),
          new Evaluation.Measures(features, null, text, 100),
          ceiling,
          options,
          this::tell);
    }
  }

  /** What tells captions apart; null where the held-out pictures have too few of them. */
  private static @Nullable TextAgreement reader(
      DiffusionModel teacher,
      FeatureNetwork features,
      @Nullable TensorCache cache,
      List<Sample> held)
      throws IOException {
    if (!TextAgreement.canChooseAmong(held.stream().map(Sample::caption).toList())) {
      return null;
    }
    return TextAgreement.train(
        features, teacher, held, TextAgreement.Options.DEFAULTS, Optional.ofNullable(cache));
  }

  /** An entry's model at each of its numbers of steps. */
  static List<SampledModel> systems(
      ComparePlan plan, ComparePlan.Entry entry, DiffusionModel model) {
    double own = model.schedulerConfig().path(SchedulerConfig.GUIDANCE).asDouble(plan.guidance());
    String sampler = entry.sampler() == null ? SampledModel.OWN : entry.sampler();
    double guidance = entry.guidance() == null ? own : entry.guidance();
    return Objects.requireNonNullElse(entry.steps(), plan.steps()).stream()
        .map(steps -> new SampledModel(entry.name(), model, sampler, steps, guidance))
        .toList();
  }

  // ---------------------------------------------------------------- writing

  private void write(
      ComparePlan plan,
      Evaluated evaluated,
      List<Trained> trained,
      Optional<TransferRun.Outcome> moved,
      Map<String, String> settings)
      throws IOException {
    List<Report.Section> more = new ArrayList<>();
    Map<String, Training> training = new LinkedHashMap<>();
    trained.forEach(each -> training.put(each.entry().name(), each.training()));
    if (!trained.isEmpty()) {
      more.add(table(training));
      Charts.trainingCurves(curves(trained)).ifPresent(more::add);
    }
    moved.ifPresent(outcome -> more.addAll(outcome.sections()));
    String summary =
        "%,d pictures each, of captions of the test shards; reference: %d DDIM steps of the"
                .formatted(plan.pictures(), plan.referenceSteps())
            + " teacher.";
    EvaluationReport shown =
        new EvaluationReport("Methods compared", evaluated.about(summary, settings), more);
    shown.write(out);
    report(
        new Result(
            shown.json(), training, moved.map(TransferRun.Outcome::figures).orElse(null)),
        shown.table()
            + moved.map(outcome -> "%n%n%s".formatted(outcome.table())).orElse("")
            + "%n%s".formatted(out.resolve("report.html")));
  }

  private static Map<String, List<TrainingCurve.Point>> curves(List<Trained> trained)
      throws IOException {
    Map<String, List<TrainingCurve.Point>> curves = new LinkedHashMap<>();
    for (Trained each : trained) {
      if (Files.exists(each.run().curve())) {
        curves.put(each.entry().name(), TrainingCurve.read(each.run().curve()));
      }
    }
    return curves;
  }

  private static Report.Table table(Map<String, Training> trained) {
    List<Report.Row> rows = new ArrayList<>();
    trained.forEach(
        (name, training) ->
            rows.add(
                new Report.Row(
                    Report.Row.Kind.FIGURES,
                    name,
                    List.of(
                        training.method(),
                        "%,d".formatted(training.images()),
                        "%,d".formatted(training.steps()),
                        "%,.0f".formatted(training.preparation()),
                        "%,.0f".formatted(training.seconds()),
                        "%.4f".formatted(training.loss()),
                        "%.2f".formatted(training.peakGigabytes())))));
    return new Report.Table(
        "Training",
        List.of(
            "Entry",
            "Method",
            "Images",
            "Steps",
            "Preparing, s",
            "Training, s",
            "Last loss",
            "Peak memory, GB"),
        rows,
        "Preparing: drawing the teacher's pictures that reflow, instaflow and shortcut learn from,"
            + " before the clock of training starts; as long for each of them, though those that share"
            + " a folder draw only once. What other methods have the teacher draw is part of their"
            + " training. Losses of methods cannot be compared.");
  }

  private Map<String, String> settings(
      ComparePlan plan, FeatureNetwork features, Optional<TransferRun> transfer) {
    Map<String, String> settings = new LinkedHashMap<>();
    settings.put("plan", file.toString());
    settings.put("teacher", Installation.name(teacher(plan)));
    settings.put("guidance of the teacher", Double.toString(plan.guidance()));
    settings.put("features", features.name());
    transfer.ifPresent(run -> settings.put("fine-tune of the transfer", run.name()));
    settings.put("software", Main.VERSION + ", Java " + Runtime.version());
    return settings;
  }

  // ---------------------------------------------------------------- paths

  private static Path teacher(ComparePlan plan) {
    return plan.teacher() == null ? Installation.teacher() : Installation.find(plan.teacher());
  }

  private static List<Path> data(ComparePlan plan) {
    return plan.data() == null
        ? List.of(Installation.data())
        : plan.data().stream().map(Installation::find).toList();
  }
}
