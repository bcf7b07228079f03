package org.perflow.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.perflow.accelerate.Accelerator;
import org.perflow.distill.perflow.PerflowMethod;
import org.perflow.distill.perflow.PerflowOptions;
import org.perflow.distill.perflow.PerflowOptions.GuidanceMode;
import org.perflow.evaluate.Case;
import org.perflow.evaluate.Evaluated;
import org.perflow.evaluate.Evaluation;
import org.perflow.evaluate.FeatureNetwork;
import org.perflow.evaluate.SampledModel;
import org.perflow.flow.Guidance;
import org.perflow.flow.Recommended;
import org.perflow.flow.TeacherSolver;
import org.perflow.io.Installation;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.io.Shards;
import org.perflow.models.DiffusionModel;
import org.perflow.report.Charts;
import org.perflow.report.EvaluationReport;
import org.perflow.tensor.DType;
import org.perflow.train.ProgressListener;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code perflow demo}: the main job, small. */
@Command(
    name = "demo",
    description =
        "Shows what perflow does, in a few minutes on two cores: trains a 4-step student from the"
            + " teacher that comes with it, then compares the teacher, the student that comes with"
            + " it (trained for longer) and the new one on captions held out from training. OUT gets"
            + " report.html, its tables as report.md, grid.png and the run.",
    footer = {"", "Examples:", "  perflow demo", "  perflow demo --short --out demo-short"})
final class DemoCommand extends Verb {
  private static final double GUIDANCE = Guidance.DEFAULT; // of the teacher and its students
  private static final long FIRST_SEED = 1_000_000;

  @Option(
      names = "--out",
      defaultValue = "demo",
      paramLabel = "DIR",
      description = "Folder to write to (default: ${DEFAULT-VALUE}).")
  Path out;

  @Option(names = "--short", description = "A minute or two: less training, fewer pictures.")
  boolean quick;

  @Override
  void run() throws Exception {
    Path run = freshRun();
    TrainOptions train =
        TrainOptions.DEFAULTS
            .withWarmup(quick ? 4 : 20)
            .withSteps(quick ? 16 : 120)
            .withBatch(64)
            .withLearningRate(1e-4)
            .withBeta2(0.99)
            .withEma(0.97)
            .withDecay(TrainOptions.Decay.LINEAR);
    PerflowOptions perflow = recipe();
    Accelerator accelerator =
        Accelerator.of(Installation.teacher())
            .data(Installation.data())
            .method(PerflowMethod.MEASURED, suited -> perflow)
            .train(train)
            .out(run);
    err().printf("1/2  PeRFlow training: %,d steps of %d%n", train.steps(), train.batch());
    List<Double> losses = new ArrayList<>();
    TrainListener recorder =
        new TrainListener() {
          @Override
          public void onStep(Report report) {
            losses.add(report.loss());
          }
        };
    Accelerator.Student student;
    try (ProgressListener progress = new ProgressListener();
        StopOnInterrupt stop = new StopOnInterrupt()) {
      student = accelerator.run(recorder, progress, stop);
    }
    err().println("2/2  Comparison on captions held out from training");
    Evaluated evaluated = compare(student.folder());
    EvaluationReport shown =
        new EvaluationReport(
            "PeRFlow demo",
            evaluated.about(
                "A 4-step student trained just now for "
                    + train.steps()
                    + " steps, the one that comes with perflow, and their teacher, from the same"
                    + " noise.",
                settings(train, perflow, evaluated)),
            Charts.trainingLoss(losses.stream().mapToDouble(Double::doubleValue).toArray()).stream()
                .toList());
    shown.write(out);
    report(
        shown.json(),
        shown.table() + "%n%n%s".formatted(out.resolve("report.html").toAbsolutePath()));
  }

  /** For strong guidance and a short training (docs/recipe.md). */
  private static PerflowOptions recipe() {
    return PerflowOptions.DEFAULTS.with(
        o ->
            o.guidanceMode(GuidanceMode.MATCHED)
                .guidance(GUIDANCE)
                .solver(TeacherSolver.DDIM)
                .captionDropout(0)
                .discreteTimesteps(4));
  }

  private Evaluated compare(Path trained) throws IOException {
    try (DiffusionModel teacher = DiffusionModel.load(Installation.teacher(), DType.F32);
        DiffusionModel shipped = DiffusionModel.load(Installation.student(), DType.F32);
        DiffusionModel fresh = DiffusionModel.load(trained, DType.F32);
        FeatureNetwork features = FeatureNetwork.load(Installation.features())) {
      List<SampledModel> systems = new ArrayList<>();
      for (int steps : new int[] {8, 4}) {
        systems.add(new SampledModel("Teacher, DDIM", teacher, "ddim", steps, GUIDANCE));
      }
      for (int steps : new int[] {4, 8}) {
        systems.add(
            new SampledModel(
                "Student, shipped",
                shipped,
                "perflow",
                steps,
                Recommended.of(shipped).guidance()));
        systems.add(
            new SampledModel(
                "Student, trained just now",
                fresh,
                "perflow",
                steps,
                Recommended.of(fresh).guidance()));
      }
      return Evaluated.of(
          new SampledModel("Teacher, DDIM", teacher, "ddim", 50, GUIDANCE),
          systems,
          Case.of(heldOut(), quick ? 16 : 64, FIRST_SEED),
          Evaluation.Measures.on(features),
          null,
          new Evaluation.Options(16, DType.F32, 4, quick ? 40 : 100, quick ? 4 : 8, 8, null, false),
          line -> err().println("     " + line));
    }
  }

  private static List<String> heldOut() throws IOException {
    List<Path> shards = Shards.test(List.of(Installation.data()));
    return ShardReader.readAll(shards).stream().map(Sample::caption).toList();
  }

  /** Every demo trains anew; earlier runs in the folder stay. */
  private Path freshRun() throws IOException {
    for (int number = 1; ; number++) {
      Path run = out.resolve("run-%03d".formatted(number));
      if (!Files.exists(run)) {
        return run;
      }
    }
  }

  private static Map<String, String> settings(
      TrainOptions train, PerflowOptions perflow, Evaluated evaluated) {
    Map<String, String> settings = new LinkedHashMap<>();
    settings.put("teacher", "models/emoji-64");
    settings.put("student, shipped", "models/emoji-64-perflow");
    settings.put("pictures", Integer.toString(evaluated.pictures()));
    settings.put("guidance", Double.toString(GUIDANCE));
    settings.put("training", train.toString());
    settings.put("PeRFlow", perflow.toString());
    settings.put("software", Main.VERSION + ", Java " + Runtime.version());
    return settings;
  }
}
