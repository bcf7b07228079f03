package org.perflow.evaluate;

import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.perflow.evaluate.Straightness.Trajectory;
import org.perflow.flow.NoiseSchedule;
import org.perflow.io.Images;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Compares ways of drawing against a reference, prompt by prompt from the same noise.
 *
 * <pre>{@code
 * System reference = new System("Teacher, DDIM", teacher, "ddim", 50, 3);
 * try (Evaluation evaluation = Evaluation.against(reference, cases, features, Options.DEFAULTS, done -> {})) {
 *   Measurement fast = evaluation.measure(new System("Student, PeRFlow", student, "perflow", 4, 3));
 * }
 * }</pre>
 *
 * <p>Holds the reference's pictures, latents and features (about 50 kB a 64 × 64 picture) until
 * closed; models and the feature network stay the caller's. Used by one thread.
 */
public final class Evaluation implements AutoCloseable {
  /**
   * A way of drawing.
   *
   * @param label names model and sampler, without the steps
   * @param scheduler "ddim" or "perflow": the samplers whose states lie on the path that
   *     straightness is measured along
   * @param guidance classifier-free guidance scale, 1 for none
   */
  public record System(
      String label, DiffusionModel model, String scheduler, int steps, double guidance) {
    /** Refuses other samplers. */
    public System {
      if (!List.of("ddim", "perflow").contains(scheduler)) {
        throw new IllegalArgumentException(
            "evaluation draws with ddim or perflow; got '" + scheduler + "'");
      }
    }

    /** U-Net evaluations of one picture. */
    public int networkEvaluations() {
      return steps * (guidance > 1 ? 2 : 1);
    }
  }

  /** A picture to draw: what of, and from which noise. */
  public record Case(String prompt, long seed) {}

  /**
   * Settings.
   *
   * @param batch pictures drawn at once
   * @param compute element type of text encoder, U-Net and decoder
   * @param windows time windows that straightness is measured in
   * @param straightSteps steps that trajectories are recorded with, a multiple of windows
   * @param straightCases how many of the cases they are recorded for
   * @param gridCases how many of the cases are kept as pictures for the report
   */
  public record Options(
      int batch, DType compute, int windows, int straightSteps, int straightCases, int gridCases) {
    /** Batches of 32 in float32; 100 steps through 4 windows on 32 cases; 8 pictures kept. */
    public static final Options DEFAULTS = new Options(32, DType.F32, 4, 100, 32, 8);

    public Options {
      if (batch < 1 || straightCases < 1 || gridCases < 0) {
        throw new IllegalArgumentException(
            "evaluation needs batch and straightCases of 1 or more and gridCases of 0 or more; got "
                + batch
                + ", "
                + straightCases
                + ", "
                + gridCases);
      }
      if (windows < 1 || straightSteps % windows != 0 || straightSteps < 2 * windows) {
        throw new IllegalArgumentException(
            "straightSteps must be a multiple of the windows, two a window or more; got "
                + straightSteps
                + " steps for "
                + windows
                + " windows");
      }
    }
  }

  /** How far a system is. */
  public record Progress(System system, long pictures, long of) {}

  /** Everything that one system drew; tensors on no scope. */
  private record Drawn(
      List<Tensor> latents,
      List<Tensor> pictures,
      List<Tensor> features,
      double seconds,
      double decodeSeconds)
      implements AutoCloseable {
    @Override
    public void close() {
      latents.forEach(Tensor::close);
      pictures.forEach(Tensor::close);
      features.forEach(Tensor::close);
    }
  }

  private final System reference;
  private final List<Case> cases;
  private final FeatureNetwork features;
  private final Options options;
  private final Consumer<Progress> listener;
  private final Drawn expected;
  private final Frechet.Gaussian expectedFeatures;
  private final List<Report.Line> lines = new ArrayList<>();
  private final List<Measurement> rows = new ArrayList<>();

  private Evaluation(
      System reference,
      List<Case> cases,
      FeatureNetwork features,
      Options options,
      Consumer<Progress> listener) {
    if (cases.size() < 2) {
      throw new IllegalArgumentException("evaluation needs 2 cases or more; got " + cases.size());
    }
    this.reference = reference;
    this.cases = List.copyOf(cases);
    this.features = features;
    this.options = options;
    this.listener = listener;
    this.expected = draw(reference);
    this.expectedFeatures = gaussian(expected);
  }

  /** Draws the reference, and measures it too (its errors are 0). Takes as long as that does. */
  public static Evaluation against(
      System reference,
      List<Case> cases,
      FeatureNetwork features,
      Options options,
      Consumer<Progress> listener) {
    Evaluation evaluation = new Evaluation(reference, cases, features, options, listener);
    evaluation.record(reference, evaluation.expected);
    return evaluation;
  }

  /** Draws all cases with {@code system} and measures them against the reference's. */
  public Measurement measure(System system) {
    try (Drawn drawn = draw(system)) {
      return record(system, drawn);
    }
  }

  /** All measurements so far, the reference first. */
  public List<Measurement> rows() {
    return List.copyOf(rows);
  }

  /** The first pictures of every system measured so far. */
  public Report.Grid grid() {
    List<String> prompts = cases.stream().limit(options.gridCases()).map(Case::prompt).toList();
    return new Report.Grid(prompts, lines);
  }

  private Measurement record(System system, Drawn drawn) {
    Trajectories trajectories = trajectories(system);
    Measurement row =
        new Measurement(
            system.label(),
            system.steps(),
            system.networkEvaluations(),
            PairedError.of(errors(drawn.pictures(), expected.pictures(), true)),
            PairedError.of(errors(drawn.latents(), expected.latents(), false)),
            Frechet.distance(gaussian(drawn), expectedFeatures),
            drawn.seconds(),
            drawn.decodeSeconds(),
            trajectories.inWindows(),
            trajectories.rectified());
    rows.add(row);
    lines.add(new Report.Line(row.title(), firstPictures(drawn)));
    return row;
  }

  private Drawn draw(System system) {
    Drawing drawing = new Drawing(system, system.steps(), options.compute());
    List<Tensor> latents = new ArrayList<>();
    List<Tensor> pictures = new ArrayList<>();
    List<Tensor> seen = new ArrayList<>();
    List<Double> seconds = new ArrayList<>();
    List<Double> decodeSeconds = new ArrayList<>();
    for (int from = 0; from < cases.size(); from += options.batch()) {
      List<Case> batch = cases.subList(from, Math.min(cases.size(), from + options.batch()));
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        Drawing.Sampled sampled = drawing.sample(batch);
        long begin = java.lang.System.nanoTime();
        Tensor decoded = drawing.decode(sampled.latents());
        decodeSeconds.add((java.lang.System.nanoTime() - begin) / 1e9 / batch.size());
        seconds.add(sampled.seconds() / batch.size());
        latents.add(scope.release(sampled.latents()));
        seen.add(scope.release(features.features(decoded)));
        pictures.add(scope.release(decoded));
      }
      listener.accept(new Progress(system, from + batch.size(), cases.size()));
    }
    return new Drawn(latents, pictures, seen, median(seconds), median(decodeSeconds));
  }

  private record Trajectories(Straightness inWindows, Straightness rectified) {}

  private Trajectories trajectories(System system) {
    Drawing drawing = new Drawing(system, options.straightSteps(), options.compute());
    List<Case> recorded = cases.subList(0, Math.min(cases.size(), options.straightCases()));
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      List<Tensor> states = drawing.sample(recorded).states();
      return straightness(states, drawing.levels(), drawing.schedule());
    }
  }

  private Trajectories straightness(List<Tensor> states, int[] levels, NoiseSchedule schedule) {
    int count = levels.length;
    if (schedule.alphaBar(levels[count - 2]) >= schedule.finalAlphaBar()) {
      count--; // the last step stood still: offset 0 and no set_alpha_to_one
    }
    double[] times = new double[count];
    double[] alpha = new double[count];
    double[] sigma = new double[count];
    for (int i = 0; i < count; i++) {
      times[i] = levels[i] < 0 ? 0 : (levels[i] + 1.0) / schedule.size();
      alpha[i] = schedule.alpha(levels[i]);
      sigma[i] = schedule.sigma(levels[i]);
    }
    List<Tensor> points = states.subList(0, count);
    return new Trajectories(
        Straightness.inWindows(new Trajectory(points, times), options.windows()),
        Straightness.of(Straightness.rectified(points, alpha, sigma)));
  }

  private static double[] errors(List<Tensor> drawn, List<Tensor> expected, boolean pictures) {
    return IntStream.range(0, drawn.size())
        .boxed()
        .flatMapToDouble(
            i -> {
              PairedError error =
                  pictures
                      ? PairedError.ofPictures(drawn.get(i), expected.get(i))
                      : PairedError.ofLatents(drawn.get(i), expected.get(i));
              return Arrays.stream(error.meanSquares());
            })
        .toArray();
  }

  private static Frechet.Gaussian gaussian(Drawn drawn) {
    try (Scope scope = Scope.open()) {
      return Frechet.Gaussian.of(Tensor.cat(0, drawn.features()));
    }
  }

  private List<BufferedImage> firstPictures(Drawn drawn) {
    List<BufferedImage> images = new ArrayList<>();
    for (Tensor batch : drawn.pictures()) {
      if (images.size() < options.gridCases()) {
        images.addAll(Images.fromTensor(batch));
      }
    }
    return images.subList(0, Math.min(options.gridCases(), images.size()));
  }

  private static double median(List<Double> values) {
    double[] sorted = values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
    int half = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  /** The system that the others are measured against. */
  public System reference() {
    return reference;
  }

  /** Frees the reference's pictures. */
  @Override
  public void close() {
    expected.close();
  }
}
