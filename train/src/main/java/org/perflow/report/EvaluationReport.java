package org.perflow.report;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.perflow.evaluate.Evaluated;
import org.perflow.evaluate.PictureGrid;
import org.perflow.io.AtomicFiles;
import org.perflow.io.Images;
import org.perflow.io.Json;

/**
 * What was measured, for a terminal, for programs and as a folder: {@code report.html}, its tables
 * as {@code report.md}, {@code grid.png}, {@code measurements.json} and the plots as SVG and PNG.
 *
 * <pre>{@code
 * EvaluationReport report = new EvaluationReport("Student against its teacher", evaluated);
 * System.out.println(report.table());
 * report.write(Path.of("runs/evaluation"));
 * }</pre>
 *
 * @param title of the page
 * @param evaluated what was measured
 * @param more sections of the page, after the figures and before the settings
 */
public record EvaluationReport(
    String title, Evaluated evaluated, List<? extends Report.Section> more) {
  public EvaluationReport {
    more = List.copyOf(more);
  }

  /** With no more sections. */
  public EvaluationReport(String title, Evaluated evaluated) {
    this(title, evaluated, List.of());
  }

  /** The measurements for a terminal. */
  public String table() {
    return tables().toText();
  }

  /** The measurements for programs. */
  public MeasurementsJson json() {
    return MeasurementsJson.of(evaluated);
  }

  /** The measurements as tables. */
  public FigureTables tables() {
    return FigureTables.of(evaluated);
  }

  /** The page. */
  public Report page() {
    List<Report.Section> sections = new ArrayList<>(tables().sections());
    sections.add(Math.min(1, sections.size()), new Report.Grid("Pictures", evaluated.grid()));
    sections.addAll(Math.min(2, sections.size()), plots());
    sections.addAll(more);
    sections.add(new Report.Settings(evaluated.settings()));
    return new Report(title, evaluated.summary(), sections);
  }

  private List<Report.Plot> plots() {
    return Stream.of(
            Charts.errorOverCost(evaluated.rows()),
            Charts.distanceOverCost(evaluated.features(), evaluated.rows()))
        .flatMap(Optional::stream)
        .toList();
  }

  /** Writes all files into {@code folder}, each atomically. */
  public void write(Path folder) throws IOException {
    Report page = page();
    writeFigures(folder);
    page.write(folder.resolve("report.html"));
    for (Report.Section section : page.sections()) {
      if (section instanceof Report.Plot plot) {
        String name = plot.title().toLowerCase(Locale.ROOT).replace(' ', '-');
        byte[] svg = plot.light().svg();
        AtomicFiles.write(folder.resolve(name + ".svg"), out -> out.write(svg));
        Images.writePng(folder.resolve(name + ".png"), plot.light().png(), Map.of());
      }
    }
  }

  /** Writes {@code measurements.json} and {@code grid.png} alone. */
  public void writeFigures(Path folder) throws IOException {
    Files.createDirectories(folder);
    writeGrid(folder.resolve("grid.png"));
    Json.write(folder.resolve("measurements.json"), json());
  }

  private void writeGrid(Path file) throws IOException {
    PictureGrid grid = evaluated.grid();
    List<BufferedImage> all =
        grid.lines().stream().flatMap(line -> line.pictures().stream()).toList();
    if (!all.isEmpty()) {
      Map<String, String> text = new TreeMap<>(); // in one order, so that files compare
      text.put("columns", String.join(" | ", grid.prompts()));
      text.put(
          "rows", String.join(" | ", grid.lines().stream().map(PictureGrid.Line::title).toList()));
      Images.writePng(file, Images.grid(all, grid.prompts().size()), text);
    }
  }
}
