package org.perflow.compare;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
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
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;

/**
 * The main job, small: trains a 4-step student from the teacher that comes with the program, then
 * compares the teacher, the student that comes with it and the new one on captions held out from
 * training. It measures the machine first, and trains and draws as much as it can in the time.
 *
 * <pre>{@code
 * EvaluationReport report =
 *     new Demo(Path.of("demo"), true).run((part, doing) -> System.out.println(doing));
 * System.out.println(report.table());
 * }</pre>
 *
 * @param out folder of report and runs; every demo trains anew, earlier runs stay
 * @param quick a minute or two instead of five: less training, fewer pictures
 * @param device to train and draw on
 */
public record Demo(Path out, boolean quick, Device device) {
  private static final double GUIDANCE = Guidance.DEFAULT; // of the teacher and its students
  private static final long FIRST_SEED = 1_000_000;
  private static final int BATCH = 16;
  private static final int[] TEACHER_STEPS = {50, 8, 4};
  private static final int[] STUDENT_STEPS = {4, 8};

  /** On {@link Device#AUTO}. */
  public Demo(Path out, boolean quick) {
    this(out, quick, Device.AUTO);
  }

  /** Told how far the demo is. */
  @FunctionalInterface
  public interface Listener {
    /**
     * @param part of all its time, 0..1, not far from what is done
     * @param doing what it is at
     */
    void at(double part, String doing);

    /** What was measured and how the time will be spent, once, in a sentence. */
    default void planned(String plan) {}
  }

  /**
   * How the time is spent.
   *
   * @param pictures that are compared
   * @param comparison seconds that these will take, about
   * @param training seconds of the training, or less where all steps are done before
   * @param batch of the training
   * @param total seconds
   */
  record Budget(int pictures, double comparison, double training, int batch, double total) {
    /** Of a picture in training: the teacher's eight guided steps, the student back and forth. */
    private static final double TRAINING_EVALUATIONS = 23;

    private static final int LEAST_STEPS = 40; // fewer teach nothing, however large the batch
    private static final double ASIDE = 10; // features, distances and the report
    private static final double SLACK = 1.15; // what is drawn takes longer beside other work

    /**
     * No more than two fifths of the time go to pictures, but sixteen are drawn on any machine.
     *
     * @param secondsAnEvaluation of the network for one picture of a batch
     * @param spent seconds so far
     */
    static Budget of(boolean quick, double secondsAnEvaluation, double spent) {
      double total = quick ? 100 : 300;
      int most = quick ? 16 : 64;
      int evaluations = 0;
      for (int steps : TEACHER_STEPS) {
        evaluations += 2 * steps;
      }
      for (int steps : STUDENT_STEPS) {
        evaluations += 2 * 2 * steps; // two students
      }
      double picture = SLACK * secondsAnEvaluation * evaluations;
      int pictures =
          (int) Math.max(BATCH, Math.min(most, (0.4 * total - ASIDE) / picture / BATCH * BATCH));
      pictures -= pictures % BATCH;
      double comparison = ASIDE + pictures * picture;
      double training = Math.max(total / 5, total - spent - comparison);
      double seen = training / (TRAINING_EVALUATIONS * secondsAnEvaluation);
      int batch = (int) Math.max(8, Math.min(64, seen / LEAST_STEPS));
      return new Budget(pictures, comparison, training, batch, total);
    }
  }

  /**
   * Trains, compares and writes the report into {@link #out}.
   *
   * @param listener told what is being done
   * @param listeners of the training
   */
  public EvaluationReport run(Listener listener, TrainListener... listeners) throws IOException {
    long start = System.nanoTime();
    listener.at(0, "measures this machine");
    double pace = secondsAnEvaluation();
    Budget budget = Budget.of(quick, pace, (System.nanoTime() - start) / 1e9);
    TrainOptions train = training(budget);
    PerflowOptions perflow = recipe();
    listener.planned(
        "%s, %.0f network evaluations a second: about %.0f s in all, %.0f of them for training, then %d pictures by each"
            .formatted(
                Compute.AUTO.why(device),
                1 / pace,
                budget.total(),
                budget.training(),
                budget.pictures()));
    Curve curve = new Curve(listener, 1 - budget.comparison() / budget.total());
    List<TrainListener> all = new ArrayList<>(List.of(listeners));
    all.add(curve);
    Accelerator.Student student =
        Accelerator.of(Installation.teacher())
            .data(Installation.data())
            .method(PerflowMethod.MEASURED, suited -> perflow)
            .train(train)
            .out(freshRun())
            .run(all.toArray(TrainListener[]::new));
    Evaluated evaluated = compare(student.folder(), budget.pictures(), curve);
    EvaluationReport report =
        new EvaluationReport(
            "PeRFlow demo",
            evaluated.about(
                "A 4-step student trained just now for "
                    + student.training().steps()
                    + " steps, the one that comes with perflow, and their teacher, from the same"
                    + " noise.",
                settings(train, perflow, evaluated)),
            Charts.trainingLoss(curve.losses.stream().mapToDouble(Double::doubleValue).toArray())
                .stream()
                .toList());
    report.write(out);
    listener.at(1, "done in %.0f s".formatted((System.nanoTime() - start) / 1e9));
    return report;
  }

  /** Loss of the training, and how far the demo is: training up to {@code until}, then drawing. */
  private static final class Curve implements TrainListener {
    private final Listener listener;
    private final double until;
    private final List<Double> losses = new ArrayList<>();

    Curve(Listener listener, double until) {
      this.listener = listener;
      this.until = until;
    }

    @Override
    public void onStep(Report report) {
      losses.add(report.loss());
      listener.at(
          until * report.progress(),
          "training, step %d: loss %.4f, %.1f images/s"
              .formatted(report.step(), report.loss(), report.imagesPerSecond()));
    }

    void drawn(double part, String doing) {
      listener.at(until + (1 - until) * part, doing);
    }
  }

  /** Of a batch of pictures by the student that comes with the program, the second time. */
  private double secondsAnEvaluation() throws IOException {
    DType type = Compute.AUTO.dtype(device);
    try (DiffusionModel shipped = load(Installation.student())) {
      SampledModel student = student("Student, shipped", shipped, 4);
      List<Case> cases = Case.of(heldOut(), BATCH, FIRST_SEED);
      double seconds = 0;
      for (int i = 0; i < 2; i++) {
        try (Scope scope = Scope.open();
            NoGrad guard = NoGrad.enter()) {
          seconds = student.draw(cases, type).seconds();
        }
      }
      return seconds / (BATCH * student.networkEvaluations());
    }
  }

  private TrainOptions training(Budget budget) {
    return TrainOptions.DEFAULTS
        .withDevice(device)
        .withWarmup(4)
        .withSteps(quick ? 16 : 120)
        .withMinutes(budget.training() / 60)
        .withBatch(budget.batch())
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

  private static SampledModel student(String name, DiffusionModel model, int steps) {
    return new SampledModel(name, model, "perflow", steps, Recommended.of(model).guidance());
  }

  private Evaluated compare(Path trained, int pictures, Curve progress) throws IOException {
    try (DiffusionModel teacher = load(Installation.teacher());
        DiffusionModel shipped = load(Installation.student());
        DiffusionModel fresh = load(trained);
        FeatureNetwork features = FeatureNetwork.load(Installation.features())) {
      features.to(device);
      List<SampledModel> systems = new ArrayList<>();
      for (int steps : TEACHER_STEPS) {
        systems.add(new SampledModel("Teacher, DDIM", teacher, "ddim", steps, GUIDANCE));
      }
      for (int steps : STUDENT_STEPS) {
        systems.add(student("Student, shipped", shipped, steps));
        systems.add(student("Student, trained just now", fresh, steps));
      }
      double all = systems.stream().mapToInt(SampledModel::networkEvaluations).sum() * pictures;
      double[] done = {0};
      return Evaluated.of(
          systems.get(0),
          systems.subList(1, systems.size()),
          Case.of(heldOut(), pictures, FIRST_SEED),
          Evaluation.Measures.on(features),
          null,
          new Evaluation.Options(
              BATCH,
              Compute.AUTO.dtype(device),
              4,
              quick ? 40 : 100,
              quick ? 4 : 8,
              8,
              null,
              false),
          drawn -> {
            done[0] += BATCH * drawn.candidate().networkEvaluations();
            progress.drawn(Math.min(0.99, done[0] / all), drawn.toString());
          });
    }
  }

  private DiffusionModel load(Path folder) throws IOException {
    return DiffusionModel.load(folder, Compute.AUTO.weights(device), device);
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
