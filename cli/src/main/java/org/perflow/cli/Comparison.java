package org.perflow.cli;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.perflow.evaluate.Evaluation;
import org.perflow.evaluate.Evaluation.Case;
import org.perflow.evaluate.FeatureNetwork;
import org.perflow.evaluate.Measurement;
import org.perflow.evaluate.Report;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;

/**
 * Measures systems against a reference on held-out captions and writes what came out into a folder:
 * {@code report.html}, {@code grid.png}, {@code measurements.json}. What {@code evaluate} and
 * {@code demo} share.
 */
record Comparison(String distanceName, int pictures, List<Measurement> rows, Report.Grid grid) {

  /** One case a picture: all captions with the first seed, all again with the next, ... */
  static List<Case> cases(List<Path> shards, int pictures, long seed) throws IOException {
    List<Sample> samples = ShardReader.readAll(shards);
    List<Case> cases = new ArrayList<>();
    for (int i = 0; i < pictures; i++) {
      cases.add(new Case(samples.get(i % samples.size()).caption(), seed + i));
    }
    return cases;
  }

  /** Draws and measures; {@code systems} are compared with {@code reference} in that order. */
  static Comparison of(
      Evaluation.System reference,
      List<Evaluation.System> systems,
      List<Case> cases,
      FeatureNetwork features,
      Evaluation.Options options,
      Consumer<String> progress) {
    Consumer<Evaluation.Progress> each =
        done ->
            progress.accept(
                "%s, %d steps: %d of %d pictures"
                    .formatted(
                        done.system().label(), done.system().steps(), done.pictures(), done.of()));
    try (Evaluation evaluation = Evaluation.against(reference, cases, features, options, each)) {
      systems.forEach(evaluation::measure);
      return new Comparison(
          features.distanceName(), cases.size(), evaluation.rows(), evaluation.grid());
    }
  }

  /** The measurements for a terminal. */
  String table() {
    StringBuilder table = new StringBuilder();
    table.append(
        "%-28s %5s %6s %8s %8s %22s %10s %9s%n"
            .formatted(
                "system", "steps", "evals", "error", "PSNR", distanceName, "s/picture", "S"));
    for (Measurement row : rows) {
      boolean reference = row == rows.get(0);
      table.append(
          "%-28s %5d %6d %8s %8s %22s %10.3f %9.4f%n"
              .formatted(
                  row.label(),
                  row.steps(),
                  row.networkEvaluations(),
                  reference ? "-" : "%.4f".formatted(row.pictures().rmse()),
                  reference ? "-" : "%.1f".formatted(row.pictures().psnr()),
                  reference ? "-" : "%.4g".formatted(row.frechet()),
                  row.seconds(),
                  row.inWindows().deviation()));
    }
    return table
        .append(
            "error: RMSE to the first row's pictures from the same noise, values in 0..1; S: 0 is straight")
        .toString();
  }

  /** Writes the files into {@code folder}. */
  void write(
      Path folder, String title, String summary, double[] losses, Map<String, String> settings)
      throws IOException {
    Files.createDirectories(folder);
    new Report(title, summary, distanceName, rows, grid, losses, settings)
        .write(folder.resolve("report.html"));
    List<BufferedImage> all =
        grid.lines().stream().flatMap(line -> line.pictures().stream()).toList();
    if (!all.isEmpty()) {
      Map<String, String> text =
          Map.of(
              "rows",
              String.join(" | ", grid.lines().stream().map(Report.Line::title).toList()),
              "columns",
              String.join(" | ", grid.prompts()));
      Images.writePng(folder.resolve("grid.png"), Images.grid(all, grid.prompts().size()), text);
    }
    Json.write(folder.resolve("measurements.json"), figures());
  }

  /** A row without the errors of single pictures. */
  record Figures(
      String system,
      int steps,
      int networkEvaluations,
      double rmse,
      double rmseLow,
      double rmseHigh,
      double psnr,
      double latentRmse,
      double frechet,
      double secondsAPicture,
      double decodeSecondsAPicture,
      double straightnessInWindows,
      double curvatureInWindows,
      double straightness,
      double curvature) {}

  /** Everything measured, for JSON. */
  record Result(String frechetFeatures, int pictures, List<Figures> systems) {}

  Result figures() {
    return new Result(distanceName, pictures, rows.stream().map(Comparison::figures).toList());
  }

  private static Figures figures(Measurement row) {
    return new Figures(
        row.label(),
        row.steps(),
        row.networkEvaluations(),
        row.pictures().rmse(),
        row.pictures().error().low(),
        row.pictures().error().high(),
        row.pictures().psnr(),
        row.latents().rmse(),
        row.frechet(),
        row.seconds(),
        row.decodeSeconds(),
        row.inWindows().deviation(),
        row.inWindows().curvature(),
        row.rectified().deviation(),
        row.rectified().curvature());
  }
}
