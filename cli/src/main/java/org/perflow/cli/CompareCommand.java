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
import org.perflow.distill.Method;
import org.perflow.distill.Methods;
import org.perflow.evaluate.Estimate;
import org.perflow.evaluate.Evaluation;
import org.perflow.evaluate.FeatureNetwork;
import org.perflow.evaluate.TensorCache;
import org.perflow.evaluate.TextAgreement;
import org.perflow.io.Json;
import org.perflow.io.ShardReader;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.train.LoraOptions;
import org.perflow.train.Overrides;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code perflow compare}. */
@Command(
    name = "compare",
    description =
        "Trains several methods on one teacher with one budget, and measures them and the teacher's"
            + " samplers from the same noise. What is trained already is not trained again, and a run"
            + " that was cut off goes on. OUT gets a folder an entry, report.html, plots, grid.png and"
            + " measurements.json.",
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
      String method, long steps, long images, double seconds, double loss, double peakGigabytes) {}

  /** An entry with its model, if it has one of its own. */
  private record Entrant(
      ComparePlan.Entry entry, DiffusionModel model, boolean owned, @Nullable Training training) {}

  @Override
  void run() throws Exception {
    ComparePlan plan = ComparePlan.read(file);
    List<ComparePlan.Entry> entries = chosen(plan);
    Map<ComparePlan.Entry, AccelerateRun<?>> runs = new LinkedHashMap<>();
    for (ComparePlan.Entry entry : entries) { // all settings are checked before any is trained
      if (entry.method() != null) {
        runs.put(entry, prepare(plan, entry, Methods.of(entry.method())));
      }
    }
    Map<ComparePlan.Entry, Training> trained = new LinkedHashMap<>();
    for (var each : runs.entrySet()) {
      err().println("training " + each.getKey().name());
      trained.put(each.getKey(), train(each.getValue()));
    }
    measure(plan, entries, runs, trained);
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

  private <O extends Record> AccelerateRun<O> prepare(
      ComparePlan plan, ComparePlan.Entry entry, Method<O> method) throws IOException {
    ObjectNode train = Json.MAPPER.createObjectNode();
    train.setAll(orEmpty(plan.train()));
    train.setAll(orEmpty(entry.train()));
    Path teacher = teacher(plan);
    try {
      return new AccelerateRun<>(
          teacher,
          null,
          Shards.find(data(plan), "train-*.tar"),
          method,
          AccelerateCommand.options(method, teacher, orEmpty(entry.options())),
          Overrides.apply(TrainOptions.DEFAULTS, train),
          Overrides.apply(LoraOptions.DEFAULTS, orEmpty(entry.lora())),
          DType.F16,
          out.resolve("cache"),
          out.resolve(entry.slug()));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("'" + entry.name() + "': " + e.getMessage(), e);
    }
  }

  private static ObjectNode orEmpty(@Nullable ObjectNode node) {
    return node == null ? Json.MAPPER.createObjectNode() : node;
  }

  /** Trains what is not trained; refuses a folder that was trained with other settings. */
  private Training train(AccelerateRun<?> run) throws IOException {
    Path done = run.out().resolve("training.json");
    Path config = run.out().resolve("config.json");
    if (Files.exists(config) && !Json.read(config).equals(run.config())) {
      throw new IllegalArgumentException(
          config
              + " was written with other settings than the plan has now; choose another --out, or"
              + " move that folder away");
    }
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
    Trainer.Result result = run.train(resume, memory);
    Training training =
        new Training(
            run.method().name(),
            result.steps(),
            result.steps() * run.train().batch() * run.train().accumulate(),
            result.seconds(),
            result.loss(),
            peak[0] / 1e9);
    Json.write(done, training);
    return training;
  }

  // ---------------------------------------------------------------- measuring

  private void measure(
      ComparePlan plan,
      List<ComparePlan.Entry> entries,
      Map<ComparePlan.Entry, AccelerateRun<?>> runs,
      Map<ComparePlan.Entry, Training> trained)
      throws Exception {
    List<Entrant> entrants = new ArrayList<>();
    try (DiffusionModel teacher = Models.load(teacher(plan), DType.F32);
        FeatureNetwork features = FeatureNetwork.load(Installation.features())) {
      try {
        for (ComparePlan.Entry entry : entries) {
          Path folder =
              runs.containsKey(entry)
                  ? runs.get(entry).student()
                  : entry.model() == null ? null : path(entry.model());
          DiffusionModel model = folder == null ? teacher : Models.load(folder, DType.F32);
          entrants.add(new Entrant(entry, model, folder != null, trained.get(entry)));
        }
        compare(plan, teacher, entrants, features);
      } finally {
        entrants.stream().filter(Entrant::owned).forEach(entrant -> entrant.model().close());
      }
    }
  }

  private void compare(
      ComparePlan plan, DiffusionModel teacher, List<Entrant> entrants, FeatureNetwork features)
      throws IOException {
    List<Evaluation.System> systems = new ArrayList<>();
    for (Entrant entrant : entrants) {
      List<Integer> steps = Objects.requireNonNullElse(entrant.entry().steps(), plan.steps());
      steps.forEach(count -> systems.add(system(plan, entrant, count)));
    }
    TensorCache cache = new TensorCache(out.resolve("cache"));
    Evaluation.Options options =
        new Evaluation.Options(plan.batch(), DType.parse(plan.dtype()), 4, 48, 4, 8, cache, true);
    List<Path> held = Shards.find(data(plan), "test*.tar");
    List<Evaluation.Case> cases = Comparison.cases(held, plan.pictures(), plan.seed());
    try (TextAgreement text = textAgreement(plan, teacher, features, cases, cache)) {
      Estimate ceiling = text == null ? null : text.agreement(ShardReader.readAll(held));
      Comparison comparison =
          Comparison.of(
              new Evaluation.System(
                  "Teacher, DDIM", teacher, "ddim", plan.referenceSteps(), plan.guidance()),
              systems,
              cases,
              new Evaluation.Measures(features, null, text, 100),
              ceiling,
              options,
              line -> err().println(line));
      comparison.write(
          out,
          "Methods compared",
          "%,d pictures each, of captions of the test shards; reference: %d DDIM steps of the"
                  .formatted(plan.pictures(), plan.referenceSteps())
              + " teacher.",
          new double[0],
          settings(plan, entrants, features));
      report(
          comparison.figures(), comparison.table() + "%n%s".formatted(out.resolve("report.html")));
    }
  }

  /** Trained on the training shards; null where the captions are too few to choose among. */
  private static @Nullable TextAgreement textAgreement(
      ComparePlan plan,
      DiffusionModel teacher,
      FeatureNetwork features,
      List<Evaluation.Case> cases,
      TensorCache cache)
      throws IOException {
    if (!TextAgreement.canChooseAmong(cases.stream().map(Evaluation.Case::prompt).toList())) {
      return null;
    }
    return TextAgreement.train(
        features,
        teacher,
        ShardReader.readAll(Shards.find(data(plan), "train-*.tar")),
        TextAgreement.Options.DEFAULTS,
        Optional.of(cache));
  }

  private static Evaluation.System system(ComparePlan plan, Entrant entrant, int steps) {
    ComparePlan.Entry entry = entrant.entry();
    double own = entrant.model().schedulerConfig().path(Method.GUIDANCE).asDouble(plan.guidance());
    return new Evaluation.System(
        entry.name(),
        entrant.model(),
        entry.sampler() == null ? Evaluation.System.OWN : entry.sampler(),
        steps,
        entry.guidance() == null ? own : entry.guidance());
  }

  private Map<String, String> settings(
      ComparePlan plan, List<Entrant> entrants, FeatureNetwork features) {
    Map<String, String> settings = new LinkedHashMap<>();
    settings.put("plan", file.toString());
    settings.put("teacher", Installation.name(teacher(plan)));
    settings.put("guidance of the teacher", Double.toString(plan.guidance()));
    settings.put("features", features.name());
    for (Entrant entrant : entrants) {
      Training training = entrant.training();
      if (training != null) {
        settings.put(
            "training of " + entrant.entry().name(),
            "%s, %,d steps, %,d images, %.0f s, last loss %.4f, peak %.2f GB"
                .formatted(
                    training.method(),
                    training.steps(),
                    training.images(),
                    training.seconds(),
                    training.loss(),
                    training.peakGigabytes()));
      }
    }
    settings.put("software", Main.VERSION + ", Java " + Runtime.version());
    return settings;
  }

  // ---------------------------------------------------------------- paths

  private static Path teacher(ComparePlan plan) {
    return plan.teacher() == null ? Installation.teacher() : path(plan.teacher());
  }

  private static List<Path> data(ComparePlan plan) {
    return plan.data() == null
        ? List.of(Installation.data())
        : plan.data().stream().map(CompareCommand::path).toList();
  }

  /** As given, else as it came with the program. */
  private static Path path(String name) {
    Path here = Path.of(name);
    return Files.exists(here) ? here : Installation.home().resolve(name);
  }
}
