package org.perflow.accelerate;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import org.perflow.evaluate.Candidate.Drawn;
import org.perflow.evaluate.Case;
import org.perflow.evaluate.PairedError;
import org.perflow.evaluate.SampledModel;
import org.perflow.flow.Recommended;
import org.perflow.io.Images;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * What a student is worth: how near its pictures come to those that its teacher draws from the same
 * noise in {@value #REFERENCE_STEPS} steps of DDIM, beside the teacher's own samplers at the same
 * cost, which is as many evaluations of the network a picture. A look at a few pictures; {@link
 * org.perflow.evaluate.Evaluator} measures in earnest.
 *
 * @param pictures of each
 * @param rows the student first
 * @param grid the student's pictures, below them the reference's
 */
public record EqualCost(int pictures, List<Row> rows, BufferedImage grid) {
  private static final int REFERENCE_STEPS = 50;
  private static final int PIXELS_AT_A_TIME = 32 * 64 * 64;
  private static final int COLUMNS = 8;
  private static final long SEED = 1_000_000;

  /**
   * The best there are in few steps, as {@link org.perflow.models.SchedulerConfig#NAMES} has them.
   */
  private static final List<String> SAMPLERS = List.of("ddim", "dpmpp-2m", "deis", "unipc");

  /**
   * One way of drawing.
   *
   * @param networkEvaluations a picture; guidance counts twice
   * @param error root of the mean square of the difference to the reference, pixels in 0..1
   * @param seconds a picture, without text encoder and decoder
   */
  public record Row(
      String label, int steps, int networkEvaluations, double error, double seconds) {}

  /**
   * Draws and compares. Holds one of the two models in memory at a time.
   *
   * @param captions to draw
   * @param pictures how many of each
   * @param compute element type of weights and computation
   * @param device where it is computed
   */
  static EqualCost measure(
      Path teacher, Path student, List<String> captions, int pictures, DType compute, Device device)
      throws IOException {
    List<String> all = captions.stream().distinct().toList();
    int count = Math.min(pictures, all.size());
    List<String> spread =
        IntStream.range(0, count).mapToObj(i -> all.get(i * all.size() / count)).toList();
    List<Case> cases = Case.of(spread, pictures, SEED);
    List<Row> rows = new ArrayList<>();
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Pictures drawn;
      Recommended own;
      int evaluations;
      try (DiffusionModel model = DiffusionModel.load(student, compute, device).pack()) {
        own = Recommended.of(model);
        SampledModel way =
            new SampledModel("student", model, SampledModel.OWN, own.steps(), own.guidance());
        evaluations = way.networkEvaluations();
        drawn = Pictures.of(way, cases, compute, batch(student));
      }
      Tensor reference;
      try (DiffusionModel model = DiffusionModel.load(teacher, compute, device).pack()) {
        double guidance = own.teacherGuidance();
        int each = new SampledModel("", model, "ddim", 2, guidance).networkEvaluations() / 2;
        reference =
            Pictures.of(
                    new SampledModel("", model, "ddim", REFERENCE_STEPS, guidance),
                    cases,
                    compute,
                    batch(teacher))
                .pictures();
        rows.add(row("student", own.steps(), evaluations, drawn, reference));
        int steps = Math.max(1, evaluations / each);
        for (String sampler : SAMPLERS) {
          SampledModel way = new SampledModel(sampler, model, sampler, steps, guidance);
          Pictures others = Pictures.of(way, cases, compute, batch(teacher));
          rows.add(row("teacher, " + sampler, steps, way.networkEvaluations(), others, reference));
        }
      }
      List<BufferedImage> shown = new ArrayList<>();
      int columns = Math.min(COLUMNS, pictures);
      shown.addAll(Images.fromTensor(drawn.pictures().narrow(0, 0, columns)));
      shown.addAll(Images.fromTensor(reference.narrow(0, 0, columns)));
      return new EqualCost(pictures, rows, Images.grid(shown, columns));
    }
  }

  private static int batch(Path model) throws IOException {
    int side = DiffusionModel.pixels(model);
    return Math.max(1, PIXELS_AT_A_TIME / side / side);
  }

  private static Row row(
      String label, int steps, int evaluations, Pictures drawn, Tensor reference) {
    double error = PairedError.ofPictures(drawn.pictures(), reference).rmse();
    return new Row(label, steps, evaluations, error, drawn.seconds());
  }

  /** [N, 3, H, W] in -1..1, in the caller's scope, and the time that each took. */
  private record Pictures(Tensor pictures, double seconds) {
    static Pictures of(SampledModel way, List<Case> cases, DType compute, int batch) {
      List<Tensor> parts = new ArrayList<>();
      double seconds = 0;
      for (int from = 0; from < cases.size(); from += batch) {
        try (Scope scope = Scope.open()) {
          List<Case> some = cases.subList(from, Math.min(cases.size(), from + batch));
          Drawn drawn = way.draw(some, compute);
          parts.add(scope.keep(drawn.pictures().to(DType.F32).contiguous()));
          seconds += drawn.seconds();
        }
      }
      return new Pictures(Tensor.cat(0, parts), seconds / cases.size());
    }
  }

  /** The sampler of the teacher that comes nearest at that cost. */
  public Row best() {
    return rows.stream().skip(1).min(Comparator.comparingDouble(Row::error)).orElseThrow();
  }

  /** In a sentence. */
  public String sentence() {
    Row student = rows.get(0);
    return String.format(
        Locale.ROOT,
        "%d pictures against the teacher's in %d steps from the same noise: the student's in %d"
            + " evaluations are off by %.4f, the teacher's best in %d (%s) by %.4f",
        pictures,
        REFERENCE_STEPS,
        student.networkEvaluations(),
        student.error(),
        best().networkEvaluations(),
        best().label(),
        best().error());
  }

  /** As a table in Markdown. */
  public String table() {
    StringBuilder table =
        new StringBuilder(
            "| | steps | evaluations | error | seconds a picture |\n|---|---|---|---|---|\n");
    for (Row row : rows) {
      table.append(
          String.format(
              Locale.ROOT,
              "| %s | %d | %d | %.4f | %.2f |%n",
              row.label(),
              row.steps(),
              row.networkEvaluations(),
              row.error(),
              row.seconds()));
    }
    return table.toString();
  }
}
