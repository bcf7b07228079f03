package org.perflow.cli;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.evaluate.Candidate;
import org.perflow.evaluate.Charts;
import org.perflow.evaluate.Diversity;
import org.perflow.evaluate.Estimate;
import org.perflow.evaluate.Evaluation;
import org.perflow.evaluate.Evaluation.Case;
import org.perflow.evaluate.Evaluation.Measures;
import org.perflow.evaluate.FigureTables;
import org.perflow.evaluate.Measurement;
import org.perflow.evaluate.PairedError;
import org.perflow.evaluate.Report;
import org.perflow.evaluate.SetFigures;
import org.perflow.evaluate.Straightness;
import org.perflow.io.AtomicFiles;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;

/**
 * Measures systems against a reference on held-out captions and writes what came out into a folder:
 * {@code report.html}, its tables as {@code report.md}, {@code grid.png}, {@code measurements.json}
 * and the plots as SVG and PNG. What {@code evaluate} and {@code demo} share.
 */
record Comparison(FigureTables tables, Report.Grid grid) {

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
      Candidate reference,
      List<? extends Candidate> systems,
      List<Case> cases,
      Measures measures,
      @Nullable Estimate textOfReal,
      Evaluation.Options options,
      Consumer<String> progress) {
    Consumer<Evaluation.Progress> each =
        done ->
            progress.accept(
                "%s: %d of %d pictures"
                    .formatted(done.candidate().title(), done.pictures(), done.of()));
    try (Evaluation evaluation = Evaluation.against(reference, cases, measures, options, each)) {
      systems.forEach(evaluation::measure);
      String features = measures.features().name();
      return new Comparison(
          new FigureTables(features, cases.size(), evaluation.rows(), textOfReal),
          evaluation.grid());
    }
  }

  int pictures() {
    return tables.pictures();
  }

  /** The measurements for a terminal. */
  String table() {
    return tables.toText();
  }

  /** Writes the files into {@code folder}; the report ends with {@code more} and settings. */
  void write(
      Path folder,
      String title,
      String summary,
      List<? extends Report.Section> more,
      Map<String, String> settings)
      throws IOException {
    List<Report.Plot> plots =
        Stream.of(
                Charts.errorOverCost(tables.rows()),
                Charts.distanceOverCost(tables.features(), tables.rows()))
            .flatMap(Optional::stream)
            .toList();
    List<Report.Section> sections = new ArrayList<>(tables.sections());
    sections.add(Math.min(1, sections.size()), grid);
    sections.addAll(Math.min(2, sections.size()), plots);
    sections.addAll(more);
    sections.add(new Report.Settings(settings));
    writeFigures(folder);
    new Report(title, summary, sections).write(folder.resolve("report.html"));
    for (Report.Section section : sections) {
      if (section instanceof Report.Plot plot) {
        String name = plot.title().toLowerCase(Locale.ROOT).replace(' ', '-');
        byte[] svg = plot.light().svg();
        AtomicFiles.write(folder.resolve(name + ".svg"), out -> out.write(svg));
        Images.writePng(folder.resolve(name + ".png"), plot.light().png(), Map.of());
      }
    }
  }

  /** Writes {@code measurements.json} and {@code grid.png} alone. */
  void writeFigures(Path folder) throws IOException {
    Files.createDirectories(folder);
    writeGrid(folder);
    Json.write(folder.resolve("measurements.json"), figures());
  }

  private void writeGrid(Path folder) throws IOException {
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
  }

  // ---------------------------------------------------------------- JSON

  /** A figure with its 95 % interval and on how many pictures, or captions, it stands. */
  record Figure(double value, double low, double high, int samples) {
    static @Nullable Figure of(@Nullable Estimate estimate) {
      return estimate == null
          ? null
          : new Figure(estimate.value(), estimate.low(), estimate.high(), estimate.samples());
    }
  }

  /** Figures of the pictures as a set; {@code features} names the network. */
  record OfSet(
      String features,
      @Nullable Figure frechet,
      @Nullable Figure kernel,
      @Nullable Figure precision,
      @Nullable Figure recall,
      @Nullable Figure density,
      @Nullable Figure coverage) {
    static @Nullable OfSet of(String features, @Nullable SetFigures set) {
      return set == null
          ? null
          : new OfSet(
              features,
              Figure.of(set.frechet()),
              Figure.of(set.kernel()),
              Figure.of(set.precision()),
              Figure.of(set.recall()),
              Figure.of(set.density()),
              Figure.of(set.coverage()));
    }
  }

  /** Variety within a caption, by the network named. */
  record OfDiversity(String features, @Nullable Figure distance, @Nullable Figure vendi) {}

  /** A row without the errors of single pictures; what was not measured is null. */
  record Figures(
      String system,
      int steps,
      int networkEvaluations,
      @Nullable Figure rmse,
      @Nullable Figure medianRmse,
      @Nullable Double psnr,
      @Nullable Double latentRmse,
      @Nullable OfSet set,
      @Nullable OfDiversity diversity,
      @Nullable Figure textAgreement,
      double secondsAPicture,
      double decodeSecondsAPicture,
      @Nullable Straightness inWindows,
      @Nullable Straightness noiseToPicture) {}

  /** Everything measured, for JSON. */
  record Result(
      String features,
      int pictures,
      @Nullable Figure textAgreementOfRealPictures,
      List<Figures> systems,
      List<FigureTables.Difference> differences) {}

  Result figures() {
    return new Result(
        tables.features(),
        pictures(),
        Figure.of(tables.textOfReal()),
        tables.rows().stream().map(this::figures).toList(),
        tables.differences());
  }

  private Figures figures(Measurement row) {
    PairedError pictures = row.pictures();
    PairedError latents = row.latents();
    Diversity diversity = row.diversity();
    return new Figures(
        row.label(),
        row.steps(),
        row.networkEvaluations(),
        pictures == null ? null : Figure.of(pictures.error()),
        pictures == null ? null : Figure.of(pictures.median()),
        pictures == null ? null : pictures.psnr(),
        latents == null ? null : latents.rmse(),
        OfSet.of(tables.features(), row.set()),
        diversity == null
            ? null
            : new OfDiversity(
                tables.features(), Figure.of(diversity.distance()), Figure.of(diversity.vendi())),
        Figure.of(row.textAgreement()),
        row.seconds(),
        row.decodeSeconds(),
        row.inWindows(),
        row.rectified());
  }
}
