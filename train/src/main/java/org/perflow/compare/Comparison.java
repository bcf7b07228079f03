package org.perflow.compare;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.perflow.accelerate.Accelerator;
import org.perflow.accelerate.Methods;
import org.perflow.delta.Provenance;
import org.perflow.distill.Method;
import org.perflow.distill.StudentRun;
import org.perflow.evaluate.Case;
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
import org.perflow.report.Report;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainingCurve;

/**
 * The front door to comparing: trains several methods on one teacher with one budget, and measures
 * them and the teacher's samplers from the same noise. What is trained already is not trained
 * again, and a run that was cut off goes on.
 *
 * <pre>{@code
 * Compared compared =
 *     Comparison.of(Path.of("docs/compare/emoji-64.yaml"))
 *         .out(Path.of("runs/compare"))
 *         .run(System.err::println, new ProgressListener());
 * System.out.println(compared.table());
 * }</pre>
 *
 * <p>A plan may be built in Java, too:
 *
 * <pre>{@code
 * ComparePlan plan =
 *     ComparePlan.of(
 *             ComparePlan.Entry.ofSampler("DDIM", "ddim"),
 *             ComparePlan.Entry.ofMethod("PeRFlow", "perflow", null).withSteps(4, 8),
 *             ComparePlan.Entry.ofModel("Ours", Path.of("runs/ours/student")))
 *         .withTeacher("models/emoji-64")
 *         .withPictures(64);
 * Comparison comparison = Comparison.of(plan).out(Path.of("runs/ours/compared"));
 * }</pre>
 *
 * <p>The folder gets one a trained entry, {@code report.html}, its tables as {@code report.md},
 * plots, {@code grid.png} and {@code measurements.json}; its folder {@code transfer} the same
 * figures of the plug-and-play test, where the plan has one. Immutable. A run computes on the
 * thread that calls it and frees all its native memory.
 */
public final class Comparison {
  private final ComparePlan plan;
  private final @Nullable Path file;
  private final @Nullable List<String> only;
  private final Path features;
  private final @Nullable Path out;

  private Comparison(
      ComparePlan plan,
      @Nullable Path file,
      @Nullable List<String> only,
      Path features,
      @Nullable Path out) {
    this.plan = plan;
    this.file = file;
    this.only = only;
    this.features = features;
    this.out = out;
  }

  /** By a plan. */
  public static Comparison of(ComparePlan plan) {
    return new Comparison(plan, null, null, Installation.features(), null);
  }

  /** By the plan in a YAML file. */
  public static Comparison of(Path file) throws IOException {
    return new Comparison(ComparePlan.read(file), file, null, Installation.features(), null);
  }

  /**
   * With these entries alone, by the names of their folders.
   *
   * @throws IllegalArgumentException naming those there are, where one is not among them
   */
  public Comparison only(List<String> slugs) {
    List<String> known = plan.entries().stream().map(ComparePlan.Entry::slug).toList();
    for (String slug : slugs) {
      if (!known.contains(slug)) {
        throw new IllegalArgumentException("only " + slug + ": the entries are " + known);
      }
    }
    return new Comparison(plan, file, List.copyOf(slugs), features, out);
  }

  /** Folder of the {@link FeatureNetwork}; else the one that comes with perflow. */
  public Comparison features(Path folder) {
    return new Comparison(plan, file, only, folder, out);
  }

  /** Where to train, draw and compare; else where the plan says. */
  public Comparison device(Device device) {
    return new Comparison(plan.withDevice(device.toString()), file, only, features, out);
  }

  /** Folder to write to. */
  public Comparison out(Path folder) {
    return new Comparison(plan, file, only, features, folder);
  }

  /**
   * Trains, measures and writes the report.
   *
   * @param progress told in a line how far it is
   * @param listeners of every training
   * @throws IOException where models or data cannot be read, or the report not written
   * @throws IllegalArgumentException where settings do not fit each other or the teacher, before
   *     any entry is trained, or a folder was trained with other settings
   * @throws org.perflow.train.StoppedException where a listener wanted to stop; another run goes on
   */
  public Compared run(Consumer<String> progress, TrainListener... listeners) throws IOException {
    if (out == null) {
      throw new IllegalArgumentException("a comparison needs a folder to write to");
    }
    return new Run(out, progress, listeners).compared();
  }

  /** An entry that takes part, and its training if it has one. */
  private record Contestant(ComparePlan.Entry entry, @Nullable StudentRun<?> run) {
    /** Where its model lies; an entry of the teacher's has none of its own. */
    Optional<Path> folder() throws IOException {
      if (run != null) {
        return Optional.of(run.student());
      }
      return entry.model() == null
          ? Optional.empty()
          : Optional.of(ComparePlan.model(entry.model()));
    }
  }

  /** A contestant with its model, its own or the teacher's. */
  private record Loaded(Contestant contestant, DiffusionModel model) {}

  /** One call. */
  private final class Run {
    private final Path folder;
    private final Consumer<String> progress;
    private final TrainListener[] listeners;

    Run(Path folder, Consumer<String> progress, TrainListener... listeners) {
      this.folder = folder;
      this.progress = progress;
      this.listeners = listeners;
    }

    Compared compared() throws IOException {
      List<Contestant> contestants = contestants(); // all settings are checked before any trains
      DType type = plan.type(); // and that there is such a device
      Transfer transfer =
          plan.transfer() == null ? null : Transfer.of(plan, folder.resolve("transfer"));
      Path fineTune = null;
      if (transfer != null) { // what it cannot do shows before the methods have taken their time
        fineTune = transfer.fineTune(listeners);
        progress.accept("fine-tune of the transfer: " + fineTune);
      }
      Map<String, Training> training = new LinkedHashMap<>();
      for (Contestant contestant : contestants) {
        if (contestant.run() != null) {
          progress.accept("training " + contestant.entry().name());
          training.put(
              contestant.entry().name(), Training.of(contestant.run(), progress, listeners));
        }
      }
      Compared compared = measure(contestants, training, transfer, fineTune, type);
      compared.write(folder);
      return compared;
    }

    // -------------------------------------------------------------- training

    private List<Contestant> contestants() throws IOException {
      List<Contestant> contestants = new ArrayList<>();
      for (ComparePlan.Entry entry : plan.entries()) {
        if (only == null || only.contains(entry.slug())) {
          String method = entry.method();
          contestants.add(
              new Contestant(entry, method == null ? null : prepare(entry, Methods.of(method))));
        }
      }
      return contestants;
    }

    private <O extends Record> StudentRun<?> prepare(ComparePlan.Entry entry, Method<O> method)
        throws IOException {
      ObjectNode train = Json.MAPPER.createObjectNode();
      train.setAll(orEmpty(plan.train()));
      train.setAll(orEmpty(entry.train()));
      try {
        return Accelerator.of(plan.teacherFolder())
            .data(plan.dataFolders())
            .method(method, suited -> Overrides.apply(suited, orEmpty(entry.options())))
            .train(Overrides.apply(plan.training(), train))
            .lora(Overrides.apply(method.lora(), orEmpty(entry.lora())))
            .cache(folder.resolve("cache"))
            .out(folder.resolve(entry.slug()))
            .prepare();
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException("'" + entry.name() + "': " + e.getMessage(), e);
      }
    }

    private static ObjectNode orEmpty(@Nullable ObjectNode node) {
      return node == null ? Json.MAPPER.createObjectNode() : node;
    }

    // -------------------------------------------------------------- measuring

    private Compared measure(
        List<Contestant> contestants,
        Map<String, Training> training,
        @Nullable Transfer transfer,
        @Nullable Path fineTune,
        DType type)
        throws IOException {
      List<DiffusionModel> owned = new ArrayList<>();
      try (DiffusionModel teacher = plan.load(plan.teacherFolder());
          FeatureNetwork network = FeatureNetwork.load(features)) {
        network.to(Device.parse(plan.device()));
        List<Loaded> loaded = new ArrayList<>();
        for (Contestant contestant : contestants) {
          DiffusionModel model = teacher;
          if (contestant.folder().isPresent()) {
            model = plan.load(contestant.folder().get());
            owned.add(model);
          }
          loaded.add(new Loaded(contestant, model));
        }
        List<SampledModel> systems =
            loaded.stream()
                .flatMap(each -> plan.sampled(each.contestant().entry(), each.model()).stream())
                .toList();
        Evaluation.Options options = options(type, systems);
        Evaluated evaluated = evaluate(teacher, systems, network, options);
        Transferred transferred = null;
        if (transfer != null && fineTune != null) {
          new EvaluationReport("", evaluated).writeFigures(folder); // should the rest be cut off
          transferred = transfer.measure(fineTune, students(loaded), network, options, progress);
        }
        List<Report.Section> more = sections(contestants, training, transferred);
        Evaluated told = evaluated.about(summary(), settings(network, transfer));
        return new Compared(
            new EvaluationReport("Methods compared", told, more), training, transferred);
      } finally {
        owned.forEach(DiffusionModel::close);
      }
    }

    private Evaluation.Options options(DType type, List<SampledModel> systems) {
      TensorCache cache = new TensorCache(folder.resolve("cache"));
      return new Evaluation.Options(plan.batch(), type, 4, 48, 4, 8, cache, true)
          .inWindowsOf(systems);
    }

    private Evaluated evaluate(
        DiffusionModel teacher,
        List<SampledModel> systems,
        FeatureNetwork network,
        Evaluation.Options options)
        throws IOException {
      List<Sample> heldOut = ShardReader.readAll(Shards.test(plan.dataFolders()));
      List<String> captions = heldOut.stream().map(Sample::caption).toList();
      try (TextAgreement text =
          TextAgreement.canChooseAmong(captions)
              ? TextAgreement.train(
                  network,
                  teacher,
                  heldOut,
                  TextAgreement.Options.DEFAULTS,
                  Optional.ofNullable(options.cache()))
              : null) {
        return Evaluated.of(
            new SampledModel(
                "Teacher, DDIM", teacher, "ddim", plan.referenceSteps(), plan.guidance()),
            systems,
            Case.of(captions, plan.pictures(), plan.seed()),
            new Evaluation.Measures(network, null, text, 100),
            text == null ? null : text.agreement(heldOut),
            options,
            done -> progress.accept(done.toString()));
      }
    }

    /** The folders of those that a teacher was accelerated to. */
    private static Map<ComparePlan.Entry, Path> students(List<Loaded> loaded) throws IOException {
      Map<ComparePlan.Entry, Path> students = new LinkedHashMap<>();
      for (Loaded each : loaded) {
        if (SchedulerConfig.isStudents(each.model().schedulerConfig())) {
          Optional<Path> own = each.contestant().folder();
          if (own.isPresent()) {
            students.put(each.contestant().entry(), own.get());
          }
        }
      }
      return students;
    }

    // -------------------------------------------------------------- the report

    private List<Report.Section> sections(
        List<Contestant> contestants,
        Map<String, Training> training,
        @Nullable Transferred transferred)
        throws IOException {
      List<Report.Section> sections = new ArrayList<>();
      if (!training.isEmpty()) {
        sections.add(Training.table(training));
        Charts.trainingCurves(curves(contestants)).ifPresent(sections::add);
      }
      if (transferred != null) {
        sections.addAll(transferred.sections());
      }
      return sections;
    }

    private static Map<String, List<TrainingCurve.Point>> curves(List<Contestant> contestants)
        throws IOException {
      Map<String, List<TrainingCurve.Point>> curves = new LinkedHashMap<>();
      for (Contestant contestant : contestants) {
        if (contestant.run() != null && Files.exists(contestant.run().curve())) {
          curves.put(contestant.entry().name(), TrainingCurve.read(contestant.run().curve()));
        }
      }
      return curves;
    }

    private String summary() {
      return "%,d pictures each, of captions of the test shards; reference: %d DDIM steps of the teacher."
          .formatted(plan.pictures(), plan.referenceSteps());
    }

    private Map<String, String> settings(FeatureNetwork network, @Nullable Transfer transfer)
        throws IOException {
      Map<String, String> settings = new LinkedHashMap<>();
      if (file != null) {
        settings.put("plan", file.toString());
      }
      settings.put("teacher", Installation.name(plan.teacherFolder()));
      settings.put("guidance of the teacher", Double.toString(plan.guidance()));
      settings.put("features", network.name());
      if (transfer != null) {
        settings.put("fine-tune of the transfer", transfer.name());
      }
      settings.put("software", Provenance.software());
      return settings;
    }
  }
}
