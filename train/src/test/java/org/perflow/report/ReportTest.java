package org.perflow.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.evaluate.Estimate;
import org.perflow.evaluate.Measurement;
import org.perflow.evaluate.PairedError;
import org.perflow.evaluate.PictureGrid;
import org.perflow.evaluate.SetFigures;
import org.perflow.evaluate.Straightness;
import org.perflow.train.TrainingCurve;

class ReportTest {
  @Test
  void isOneFileThatAsksNothingOfTheNetwork(@TempDir Path folder) throws IOException {
    BufferedImage picture = new BufferedImage(64, 64, BufferedImage.TYPE_INT_RGB);
    Report.Grid grid =
        new Report.Grid(
            "Pictures",
            new PictureGrid(
                List.of("red apple", "a \"cat\" & <dog>"),
                List.of(new PictureGrid.Line("Teacher, 50 steps", List.of(picture, picture)))));
    List<Report.Section> sections = new ArrayList<>(tables().sections());
    sections.add(grid);
    sections.add(Charts.errorOverCost(tables().rows()).orElseThrow());
    sections.add(Charts.trainingLoss(new double[] {3, 2, 1}).orElseThrow());
    sections.add(new Report.Settings(Map.of("K", "4")));
    Path file = folder.resolve("report.html");
    new Report("Demo", "What it is.", sections).write(file);
    String html = Files.readString(file);
    assertThat(html).contains("<td>0.063≈<br><small>[0.062, 0.064]</small></td>");
    assertThat(html).contains("FD (tiny)", "red apple", "<tr class=\"reference\">");
    assertThat(html).contains("a &quot;cat&quot; &amp; &lt;dog&gt;").doesNotContain("<dog>");
    assertThat(html).doesNotContain("http:", "https:", "@BODY@", "@TITLE@");
    assertThat(html.split("data:image/png;base64,", -1)).hasSize(1 + 2);
    assertThat(Files.readString(folder.resolve("report.md")))
        .startsWith("# Demo\n\nWhat it is.\n\n## Comparison\n\n| System | Steps |")
        .contains("\n| --- | --- |", "| 0.063 [0.062, 0.064]≈ |", "\n* K: 4\n");
    // two plots, each for a light and a dark page
    assertThat(html.split("data:image/svg\\+xml;base64,", -1)).hasSize(1 + 4);
  }

  @Test
  void plotsAreVectorsThatSayWhatTheyShow() {
    byte[] svg = Charts.errorOverCost(tables().rows()).orElseThrow().light().svg();
    String text = new String(svg, StandardCharsets.UTF_8);
    assertThat(text).contains("<svg", "<path").doesNotContain("<image"); // glyphs are outlines
    assertThat(Charts.errorOverCost(tables().rows().subList(0, 1))).isEmpty();
    assertThat(Charts.trainingLoss(new double[1])).isEmpty();
  }

  @Test
  void manyLinesAndTheCurvesOfSeveralRunsGetAPanelEach() throws IOException {
    List<Measurement> rows = new ArrayList<>();
    Map<String, List<TrainingCurve.Point>> runs = new LinkedHashMap<>();
    for (int i = 0; i < 8; i++) {
      Estimate error = new Estimate(0.1 * (i + 1), new double[] {0.1 * i, 0.1 * (i + 2)}, 20);
      rows.add(row("Method " + i, 1, error));
      rows.add(row("Method " + i, 4, error));
      List<TrainingCurve.Point> points = new ArrayList<>();
      for (int step = 1; step <= 100; step++) {
        points.add(new TrainingCurve.Point(step, 32L * step, 0.6 * step, (i + 1.0) / step, 53));
      }
      runs.put("Method " + i, points);
    }
    runs.put("cut off", List.of(new TrainingCurve.Point(1, 32, 0.6, 1, 53)));
    assertRowsOfThree(Charts.errorOverCost(rows).orElseThrow(), 8);
    assertRowsOfThree(Charts.trainingCurves(runs).orElseThrow(), 8);
    assertThat(Charts.trainingCurves(Map.of("cut off", runs.get("cut off")))).isEmpty();
    BufferedImage few = Charts.errorOverCost(rows.subList(0, 12)).orElseThrow().light().png();
    assertThat(few.getWidth()).isEqualTo(1000); // one chart with a legend
  }

  private static void assertRowsOfThree(Report.Plot plot, int panels) throws IOException {
    BufferedImage png = plot.light().png();
    int height = png.getHeight() / ((panels + 2) / 3);
    for (int i = 0; i < panels; i++) { // something of the series' colour is in every panel
      int width = png.getWidth() / 3;
      BufferedImage panel = png.getSubimage(i % 3 * width, i / 3 * height, width, height);
      int[] pixels = panel.getRGB(0, 0, width, height, null, 0, width);
      assertThat(pixels).as(plot.title() + ", panel " + i).contains(0xff0072b2);
    }
    String svg = new String(plot.dark().svg(), StandardCharsets.UTF_8);
    assertThat(svg).contains("<svg").doesNotContain("<image");
  }

  @Test
  void systemsStandBesideThoseThatCostAsMuch() {
    Estimate small = new Estimate(0.1, new double[] {0.1, 0.1, 0.1}, 20);
    Estimate large = new Estimate(0.2, new double[] {0.2, 0.2, 0.2}, 20);
    FigureTables tables =
        new FigureTables(
            "tiny",
            20,
            List.of(
                row("Teacher", 50, new Estimate(0, new double[3], 20)),
                row("One", 8, small),
                row("One", 4, large),
                row("Two", 4, small),
                row("Two", 2, large)),
            null);
    Report.Table table = tables.comparison("Figures");
    assertThat(table.rows().stream().map(Report.Row::name))
        .containsExactly(
            "Teacher",
            "4 network evaluations",
            "Two",
            "8 network evaluations",
            "One",
            "Two",
            "16 network evaluations",
            "One");
    assertThat(table.rows().get(4).cells()).contains("0.200 [0.200, 0.200]");
    assertThat(table.rows().get(5).cells()).contains("0.100 [0.100, 0.100]*");
    assertThat(table.rows().get(7).cells()).contains("0.100 [0.100, 0.100]"); // alone: no best
  }

  @Test
  void everyLineOfTheGridHasAPicturePerPrompt() {
    assertThatThrownBy(
            () -> new PictureGrid(List.of("a", "b"), List.of(new PictureGrid.Line("x", List.of()))))
        .hasMessageContaining("\"x\" has 0 pictures for 2 prompts");
    assertThatThrownBy(
            () ->
                new Report.Table(
                    "t",
                    List.of("a", "b"),
                    List.of(new Report.Row(Report.Row.Kind.FIGURES, "x", List.of())),
                    ""))
        .hasMessageContaining("0 cells for 1 columns");
  }

  @Test
  void whatSamplingNoiseExplainsIsMarked() {
    String text = tables().toText();
    assertThat(text)
        .contains(".063 [.062, .064]≈", ".062 [.061, .063]*", "FD (tiny)", "200 pictures");
    assertThat(text).contains(".200 [.190, .210] ");
    assertThat(text.lines().map(String::length)).allMatch(length -> length <= 130);
    List<FigureTables.Difference> differences = tables().differences();
    assertThat(differences).hasSize(8 * 3); // no other is as costly as the reference
    assertThat(differences.get(0).difference()).isCloseTo(0.001, within(1e-12));
    assertThat(differences.get(0).real()).isFalse();
    assertThat(differences.get(1).real()).isTrue();
  }

  /** A reference, and three systems of one cost: two that cannot be told apart and a bad one. */
  private static FigureTables tables() {
    return new FigureTables(
        "tiny",
        200,
        List.of(
            row("Teacher", 50, new Estimate(0, new double[3], 200)),
            row("Student", 4, new Estimate(0.063, new double[] {0.063, 0.062, 0.064}, 200)),
            row("Other", 4, new Estimate(0.062, new double[] {0.061, 0.063, 0.062}, 200)),
            row("Bad", 4, new Estimate(0.2, new double[] {0.19, 0.2, 0.21}, 200))),
        null);
  }

  private static Measurement row(String label, int steps, Estimate error) {
    PairedError paired = new PairedError(new double[] {1}, error, error, 20);
    Straightness straight = new Straightness(0.5, 0.25);
    Estimate one = new Estimate(1, new double[3], 200);
    SetFigures set = error.value() == 0 ? null : new SetFigures(one, one, one, one, one, one);
    return new Measurement(
        label, steps, 2 * steps, paired, paired, set, null, null, 0.01, 0.001, straight, straight);
  }
}
