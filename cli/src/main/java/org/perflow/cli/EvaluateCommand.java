package org.perflow.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.perflow.evaluate.Bootstrap;
import org.perflow.evaluate.Case;
import org.perflow.evaluate.Estimate;
import org.perflow.evaluate.Evaluated;
import org.perflow.evaluate.Evaluation;
import org.perflow.evaluate.FeatureNetwork;
import org.perflow.evaluate.FeatureSet;
import org.perflow.evaluate.Features;
import org.perflow.evaluate.Measurement;
import org.perflow.evaluate.PictureFolder;
import org.perflow.evaluate.PictureGrid;
import org.perflow.evaluate.SampledModel;
import org.perflow.evaluate.SetFigures;
import org.perflow.evaluate.TensorCache;
import org.perflow.evaluate.TextAgreement;
import org.perflow.evaluate.TorchScriptFeatures;
import org.perflow.flow.Guidance;
import org.perflow.flow.Recommended;
import org.perflow.io.Installation;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.io.Shards;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.report.EvaluationReport;
import org.perflow.tensor.DType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code perflow evaluate}. */
@Command(
    name = "evaluate",
    description =
        "Measures how close a student in few steps comes to its teacher in many, and what the"
            + " teacher's own DDIM does in few: same captions (held out from training), same noise."
            + " Or any models with --model, or any pictures with --pictures-folder. OUT gets"
            + " report.html, its tables as report.md, grid.png, plots and measurements.json.",
    footer = {
      "",
      "Examples:",
      "  perflow evaluate --out runs/evaluation",
      "  perflow evaluate --pictures 64 --teacher-steps 50,8 --student-steps 4 --out quick",
      "  perflow evaluate --student runs/first/student --out runs/first/evaluation --json",
      "  perflow evaluate --model some-model --model its-student --data shards --out compared",
      "  perflow evaluate --pictures-folder drawn --reference-folder real \\",
      "    --features inception-2015-12-05.pt --out fid"
    })
final class EvaluateCommand extends Verb {
  @Option(
      names = "--teacher",
      paramLabel = "DIR",
      description = "Diffusers folder (default: the one that comes with perflow).")
  @Nullable Path teacher;

  @Option(
      names = "--student",
      paramLabel = "DIR",
      description =
          "Diffusers folder of a PeRFlow model (default: the one that comes with perflow).")
  @Nullable Path student;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description =
          "Any diffusers folder, with or without PeRFlow's scheduler, instead of teacher and student"
              + " that come with perflow; may be repeated. The first model named is the reference.")
  @Nullable List<Path> models;

  @Option(
      names = "--pictures-folder",
      paramLabel = "DIR",
      description =
          "Pictures that are there already (PNG, JPEG, WebP or shards), all of one size, to compare"
              + " with those of --reference-folder; may be repeated. Nothing is drawn.")
  @Nullable List<Path> pictureFolders;

  @Option(
      names = "--reference-folder",
      paramLabel = "DIR",
      description =
          "Pictures that sets are compared with (FD, KD, precision, recall), rather than what the"
              + " reference model draws.")
  @Nullable Path referenceFolder;

  @Option(
      names = "--features",
      paramLabel = "PATH",
      description =
          "What pictures are compared by: a feature network's folder (default:"
              + " models/emoji-features), or a TorchScript file of your own, fed as clean-fid feeds"
              + " Inception: with inception-2015-12-05.pt FD is the standard FID.")
  @Nullable Path features;

  @Option(
      names = "--data",
      split = ",",
      paramLabel = "PATH",
      description =
          "Shards with the captions, or folders with test.tar (default: data/emoji-64). Their"
              + " pictures teach what measures text agreement.")
  @Nullable List<Path> data;

  @Option(
      names = "--pictures",
      defaultValue = "1000",
      paramLabel = "N",
      description = "Pictures of each system (default: ${DEFAULT-VALUE}).")
  int pictures;

  @Option(
      names = "--teacher-steps",
      split = ",",
      defaultValue = "50,8,4",
      paramLabel = "N",
      description = "DDIM steps of the teacher, the reference first (default: ${DEFAULT-VALUE}).")
  List<Integer> teacherSteps;

  @Option(
      names = "--student-steps",
      split = ",",
      defaultValue = "4,8",
      paramLabel = "N",
      description = "Steps of the student (default: ${DEFAULT-VALUE}).")
  List<Integer> studentSteps;

  @Option(
      names = "--guidance",
      paramLabel = "W",
      description =
          "Guidance of the teacher (default: what its student was taught, else "
              + Guidance.DEFAULT
              + ").")
  @Nullable Double guidance;

  @Option(
      names = "--student-guidance",
      paramLabel = "W",
      description =
          "Guidance of the student (default: what it was trained for, else "
              + Guidance.DEFAULT
              + ").")
  @Nullable Double studentGuidance;

  @Option(
      names = "--seed",
      defaultValue = "1000000",
      paramLabel = "N",
      description = "Seed of the first picture (default: ${DEFAULT-VALUE}).")
  long seed;

  @Option(
      names = "--batch",
      defaultValue = "32",
      paramLabel = "N",
      description = "Pictures drawn at a time (default: ${DEFAULT-VALUE}).")
  int batch;

  @Option(
      names = "--straight-pictures",
      defaultValue = "8",
      paramLabel = "N",
      description =
          "Trajectories of each system that straightness is measured on, in 100 steps (default:"
              + " ${DEFAULT-VALUE}).")
  int straightPictures;

  @Option(
      names = "--dtype",
      defaultValue = "float32",
      paramLabel = "TYPE",
      description = "Type to compute with: float32 or bfloat16 (default: ${DEFAULT-VALUE}).")
  String dtype;

  @Option(
      names = "--resamples",
      paramLabel = "N",
      description =
          "Bootstrap resamples of the distances between sets, each as costly as a distance (default:"
              + " 100; 20 with TorchScript features).")
  @Nullable Integer resamples;

  @Option(
      names = "--no-text-agreement",
      description = "Leave out how often a picture's caption is found among others.")
  boolean noTextAgreement;

  @Option(
      names = "--cache",
      paramLabel = "DIR",
      description =
          "Where what the reference drew and the features of folders are kept for the next time"
              + " (default: perflow/evaluate in the user's cache folder).")
  @Nullable Path cache;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder to write to.")
  Path out;

  @Override
  void run() throws Exception {
    try (Features network = features()) {
      if (pictureFolders == null) {
        drawAndCompare(network);
      } else {
        compareFolders(pictureFolders, network);
      }
    }
  }

  private Features features() throws IOException {
    Path path = features == null ? Installation.features() : features;
    return Files.isDirectory(path) ? FeatureNetwork.load(path) : TorchScriptFeatures.load(path);
  }

  private int resamples(Features network) {
    if (resamples != null && resamples < 0) {
      throw new IllegalArgumentException("--resamples must be 0 or more; got " + resamples);
    }
    return resamples != null ? resamples : network instanceof TorchScriptFeatures ? 20 : 100;
  }

  private TensorCache cache() {
    return new TensorCache(cache == null ? Installation.cache().resolve("evaluate") : cache);
  }

  // ---------------------------------------------------------------- folders

  private void compareFolders(List<Path> folders, Features network) throws Exception {
    if (referenceFolder == null) {
      throw new IllegalArgumentException(
          "--pictures-folder needs --reference-folder, the pictures to compare with");
    }
    if (teacher != null || student != null || models != null) {
      throw new IllegalArgumentException(
          "--pictures-folder compares pictures that are there; leave out --model, --teacher and"
              + " --student, or draw with them and --reference-folder alone");
    }
    List<Measurement> rows = new ArrayList<>();
    int fewest = Integer.MAX_VALUE;
    try (PictureFolder.Seen real = seen(referenceFolder, network, Optional.empty())) {
      FeatureSet reference = set(real, 0);
      for (Path folder : folders) {
        try (PictureFolder.Seen seen = seen(folder, network, Optional.of(real.size()))) {
          FeatureSet drawn = set(seen, rows.size() + 1);
          fewest = Math.min(fewest, drawn.size());
          String label = "%s (%,d)".formatted(folder.getFileName(), drawn.size());
          SetFigures figures = SetFigures.between(drawn, reference, resamples(network));
          rows.add(Measurement.ofPictures(label, figures));
        }
      }
      Map<String, String> settings = new LinkedHashMap<>();
      settings.put("reference", "%s, %,d pictures".formatted(referenceFolder, reference.size()));
      settings.put("features", network.name());
      settings.put("resamples", Integer.toString(resamples(network)));
      settings.put("software", Main.VERSION + ", Java " + Runtime.version());
      String summary = "Reference: %,d pictures in %s.".formatted(reference.size(), referenceFolder);
      write(
          "Pictures against pictures",
          new Evaluated(
              network.name(), fewest, rows, null, PictureGrid.none(), summary, settings));
    }
  }

  private PictureFolder.Seen seen(Path folder, Features network, Optional<PictureFolder.Size> size)
      throws IOException {
    PictureFolder pictures = PictureFolder.of(folder);
    err().printf("%s: features of %,d files%n", folder, pictures.files().size());
    return pictures.features(network, size, Optional.of(cache()));
  }

  /** Independent of other folders: each is resampled by a seed of its own. */
  private static FeatureSet set(PictureFolder.Seen seen, long seed) {
    int pictures = (int) seen.features().size(0);
    return new FeatureSet(seen.features(), Bootstrap.byPicture(pictures, 1000 + seed));
  }

  // ---------------------------------------------------------------- models

  /** A model, and whether it is a few-step student: these are drawn with as their folders say. */
  private record Entrant(String name, DiffusionModel model, boolean few) implements AutoCloseable {
    String scheduler() {
      if (!few) {
        return "ddim";
      }
      ObjectNode own = model.schedulerConfig();
      boolean perflow = SchedulerConfig.isPerflow(own) || !SchedulerConfig.isStudents(own);
      return perflow ? "perflow" : SampledModel.OWN;
    }

    String label() {
      return switch (scheduler()) {
        case "perflow" -> name + ", PeRFlow";
        case "ddim" -> name + ", DDIM";
        default -> name + ", its own sampler";
      };
    }

    @Override
    public void close() {
      model.close();
    }
  }

  private void drawAndCompare(Features network) throws Exception {
    List<Path> shards =
        Shards.test(data == null ? List.of(Installation.data()) : data);
    Map<String, String> settings = new LinkedHashMap<>();
    List<Entrant> entrants = new ArrayList<>();
    try {
      load(entrants, settings);
      List<Sample> heldOut = ShardReader.readAll(shards);
      try (TextAgreement text = textAgreement(network, entrants.get(0).model(), heldOut);
          PictureFolder.Seen real =
              referenceFolder == null ? null : seen(referenceFolder, network, Optional.empty())) {
        Estimate ofReal = text == null ? null : text.agreement(heldOut);
        Evaluation.Measures measures =
            new Evaluation.Measures(
                network, real == null ? null : set(real, 0), text, resamples(network));
        List<SampledModel> systems = systems(entrants);
        List<String> captions = heldOut.stream().map(Sample::caption).toList();
        Evaluated evaluated =
            Evaluated.of(
                systems.get(0),
                systems.subList(1, systems.size()),
                Case.of(captions, pictures, seed),
                measures,
                ofReal,
                options(entrants),
                line -> err().println(line));
        settings.put("features", network.name());
        settings.put("captions", shards.stream().map(Installation::name).toList().toString());
        settings.put("pictures", Integer.toString(pictures));
        settings.put("guidance", guidances(entrants));
        settings.put("first seed", Long.toString(seed));
        settings.put("dtype", DType.parse(dtype).torchName());
        settings.put("resamples", Integer.toString(resamples(network)));
        settings.put("software", Main.VERSION + ", Java " + Runtime.version());
        write(title(), evaluated.about(summary(systems.get(0)), settings));
      }
    } finally {
      entrants.forEach(Entrant::close);
    }
  }

  /** Teacher and student, those that come with perflow unless others are named; then the models. */
  private void load(List<Entrant> entrants, Map<String, String> settings) throws IOException {
    Path first = teacher == null && models == null ? Installation.teacher() : teacher;
    Path second = student == null && models == null ? Installation.student() : student;
    if (first != null) {
      entrants.add(new Entrant("Teacher", DiffusionModel.load(first, DType.F32), false));
      settings.put("teacher", Installation.name(first));
    }
    if (second != null) {
      entrants.add(new Entrant("Student", DiffusionModel.load(second, DType.F32), true));
      settings.put("student", Installation.name(second));
    }
    for (Path folder : models == null ? List.<Path>of() : models) {
      DiffusionModel model = DiffusionModel.load(folder, DType.F32);
      String name = String.valueOf(folder.toAbsolutePath().normalize().getFileName());
      entrants.add(new Entrant(name, model, SchedulerConfig.isStudents(model.schedulerConfig())));
      settings.put("model " + name, Installation.name(folder));
    }
  }

  private List<SampledModel> systems(List<Entrant> entrants) {
    List<SampledModel> systems = new ArrayList<>();
    for (Entrant entrant : entrants) {
      for (int steps : entrant.few() ? studentSteps : teacherSteps) {
        systems.add(
            new SampledModel(
                entrant.label(),
                entrant.model(),
                entrant.scheduler(),
                steps,
                guidance(entrant, entrants)));
      }
    }
    return systems;
  }

  private double guidance(Entrant entrant, List<Entrant> entrants) {
    if (!entrant.few()) {
      return guidance == null ? studentsGuidance(entrants) : guidance;
    }
    return studentGuidance == null ? Recommended.of(entrant.model()).guidance() : studentGuidance;
  }

  /**
   * Like with like: a student follows its teacher under one guidance; no student, the reference's.
   */
  private static double studentsGuidance(List<Entrant> entrants) {
    return entrants.stream()
        .filter(Entrant::few)
        .mapToDouble(entrant -> Recommended.of(entrant.model()).teacherGuidance())
        .filter(scale -> scale > 1) // 1: it is in the weights of a student that does not say it
        .findFirst()
        .orElseGet(() -> Recommended.of(entrants.get(0).model()).guidance());
  }

  private String guidances(List<Entrant> entrants) {
    List<String> all =
        entrants.stream().map(e -> guidance(e, entrants) + " (" + e.name() + ")").toList();
    return String.join(", ", all);
  }

  private Evaluation.Options options(List<Entrant> entrants) {
    Evaluation.Options standard = Evaluation.Options.DEFAULTS;
    int windows =
        entrants.stream()
            .filter(entrant -> entrant.scheduler().equals("perflow"))
            .mapToInt(entrant -> SchedulerConfig.windows(entrant.model().schedulerConfig()))
            .findFirst()
            .orElse(standard.windows());
    return new Evaluation.Options(
        batch,
        DType.parse(dtype),
        windows,
        standard.straightSteps() / windows * windows,
        straightPictures,
        standard.gridCases(),
        cache(),
        false);
  }

  /** Null where it was not asked for, or there are too few captions to choose from. */
  private @Nullable TextAgreement textAgreement(
      Features network, DiffusionModel reader, List<Sample> heldOut) throws IOException {
    if (noTextAgreement
        || !TextAgreement.canChooseAmong(heldOut.stream().map(Sample::caption).toList())) {
      return null;
    }
    err().println("text agreement: learning from captioned pictures, or reading what was learnt");
    return TextAgreement.train(
        network, reader, heldOut, TextAgreement.Options.DEFAULTS, Optional.of(cache()));
  }

  private String title() {
    return models == null ? "PeRFlow student against its teacher" : "Models compared";
  }

  private String summary(SampledModel reference) {
    return "%,d pictures of captions held out from training; reference: %s%s."
        .formatted(
            pictures,
            reference.title(),
            referenceFolder == null ? "" : ", sets against the pictures in " + referenceFolder);
  }

  private void write(String title, Evaluated evaluated) throws IOException {
    EvaluationReport shown = new EvaluationReport(title, evaluated);
    shown.write(out);
    report(shown.json(), shown.table() + "%n%s".formatted(out.resolve("report.html")));
  }
}
