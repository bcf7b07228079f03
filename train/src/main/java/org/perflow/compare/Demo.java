package org.perflow.compare;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.perflow.accelerate.Accelerator;
import org.perflow.delta.Provenance;
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
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;

/**
 * The main job, small: trains a 4-step student from the teacher that comes with the program, then
 * compares the teacher, the student that comes with it and the new one on captions held out from
 * training.
 *
 * <pre>{@code
 * EvaluationReport report = new Demo(Path.of("demo"), true).run(System.out::println);
 * System.out.println(report.table());
 * }</pre>
 *
 * @param out folder of report and runs; every demo trains anew, earlier runs stay
 * @param quick a minute or two: less training, fewer pictures
 */
public record Demo(Path out, boolean quick) {
  private static final double GUIDANCE = Guidance.DEFAULT; // of the teacher and its students
  private static final long FIRST_SEED = 1_000_000;

  /**
   * Trains, compares and writes the report into {@link #out}.
   *
   * @param progress is told what is being done, in lines
   * @param listeners of the training
   */
  public EvaluationReport run(Consumer<String> progress, TrainListener... listeners)
      throws IOException {
    TrainOptions train = training();
    PerflowOptions perflow = recipe();
    progress.accept(
        "1/2  PeRFlow training: %,d steps of %d".formatted(train.steps(), train.batch()));
    List<Double> losses = new ArrayList<>();
    List<TrainListener> all = new ArrayList<>(List.of(listeners));
    all.add(
        new TrainListener() {
          @Override
          public void onStep(Report report) {
            losses.add(report.loss());
          }
        });
    Accelerator.Student student =
        Accelerator.of(Installation.teacher())
            .data(Installation.data())
            .method(PerflowMethod.MEASURED, suited -> perflow)
            .train(train)
            .out(freshRun())
            .run(all.toArray(TrainListener[]::new));
    progress.accept("2/2  Comparison on captions held out from training");
    Evaluated evaluated = compare(student.folder(), progress);
    EvaluationReport report =
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
    report.write(out);
    return report;
  }

  private TrainOptions training() {
    return TrainOptions.DEFAULTS
        .withWarmup(quick ? 4 : 20)
        .withSteps(quick ? 16 : 120)
        .withBatch(64)
        .withLearningRate(1e-4)
        .withBeta2(0.99)
        .withEma(0.97)
        .withDecay(TrainOptions.Decay.LINEAR);
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

  private Evaluated compare(Path trained, Consumer<String> progress) throws IOException {
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
                "Student, shipped", shipped, "perflow", steps, Recommended.of(shipped).guidance()));
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
          line -> progress.accept("     " + line));
    }
  }

  private static List<String> heldOut() throws IOException {
    List<Path> shards = Shards.test(List.of(Installation.data()));
    return ShardReader.readAll(shards).stream().map(Sample::caption).toList();
  }

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
    settings.put("software", Provenance.software());
    return settings;
  }
}
