package org.perflow.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.text.DecimalFormat;
import java.text.DecimalFormatSymbols;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler.LegendLayout;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.lines.SeriesLines;
import org.knowm.xchart.style.markers.SeriesMarkers;
import org.perflow.evaluate.Estimate;
import org.perflow.evaluate.Measurement;
import org.perflow.report.Chart.Theme;
import org.perflow.train.TrainingCurve.Point;

/** The plots of a {@link Report}, of measurements and of training. */
public final class Charts {
  private static final int WIDTH = 500;
  private static final int HEIGHT = 360;
  private static final int MOST_POINTS = 400;

  /** More lines than this are told apart by a panel each. */
  private static final int MOST_LINES = 6;

  private static final int MOST_BARS = 100;

  private static final int PANEL_WIDTH = 300;
  private static final int PANEL_HEIGHT = 220;

  /** Okabe and Ito's palette, which colour-blind readers tell apart, legible on both grounds. */
  private static final Color[] SERIES = {
    new Color(0x0072b2), new Color(0xd55e00), new Color(0x009e73),
    new Color(0xcc79a7), new Color(0xe69f00), new Color(0x56b4e9)
  };

  private Charts() {}

  /**
   * Error of the pictures over network evaluations, one line a label, and where these are many a
   * panel each; empty where nothing but the reference was measured.
   */
  public static Optional<Report.Plot> errorOverCost(List<Measurement> rows) {
    return overCost(
        "Error over cost",
        new Axis("error (RMSE)", false),
        rows.stream().filter(row -> !row.isReference()).toList(),
        row -> row.pictures() == null ? null : row.pictures().error());
  }

  /** Fréchet distance over network evaluations, named by the feature network. */
  public static Optional<Report.Plot> distanceOverCost(String features, List<Measurement> rows) {
    return overCost(
        "Distance over cost",
        new Axis("FD (" + features + ")", true),
        rows.stream().filter(row -> row.steps() > 0).toList(),
        row -> row.set() == null ? null : row.set().frechet());
  }

  /** Training loss by step; empty for fewer than two steps. */
  public static Optional<Report.Plot> trainingLoss(double[] losses) {
    return losses.length < 2
        ? Optional.empty()
        : Optional.of(
            new Report.Plot(
                "Training loss",
                "Loss by training step",
                loss(losses, Theme.LIGHT),
                loss(losses, Theme.DARK)));
  }

  /**
   * Training loss over minutes, a panel with its own scale a run; empty where no run has two
   * points.
   */
  public static Optional<Report.Plot> trainingCurves(Map<String, List<Point>> runs) {
    Map<String, List<Point>> shown = new LinkedHashMap<>(runs);
    shown.values().removeIf(points -> points.size() < 2);
    return shown.isEmpty()
        ? Optional.empty()
        : Optional.of(
            new Report.Plot(
                "Training curves",
                "Loss over minutes of training: pale each step, strong its running mean. Every method"
                    + " minimises a loss of its own, so that curves tell who still learns and not who"
                    + " is better",
                curves(shown, Theme.LIGHT),
                curves(shown, Theme.DARK)));
  }

  /**
   * How many of {@code values} there are of each size.
   *
   * @param what they are, such as "tokens of a caption"
   * @param of what they are counted, such as "pictures"
   * @param limit marked by a line
   */
  public static Report.Plot histogram(
      String title, String what, String of, int[] values, int limit) {
    String alt = "How many %s have so many %s; the line is at %d".formatted(of, what, limit);
    return new Report.Plot(
        title,
        alt,
        histogram(what, of, values, limit, Theme.LIGHT),
        histogram(what, of, values, limit, Theme.DARK));
  }

  private static Chart histogram(String what, String of, int[] values, int limit, Theme theme) {
    int most = Math.max(limit, Arrays.stream(values).max().orElse(0)) + 1;
    int width = Math.max(1, (most + MOST_BARS - 1) / MOST_BARS); // of a bar
    double[] counts = new double[most / width + 2]; // the last one empty: where the area ends
    for (int value : values) {
      counts[value / width]++;
    }
    double[] x = IntStream.range(0, counts.length).mapToDouble(bar -> bar * width).toArray();
    XYChart chart = chart(what, of, theme);
    XYSeries bars = chart.addSeries("all", x, counts);
    bars.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.StepArea);
    bars.setMarker(SeriesMarkers.NONE).setLineColor(SERIES[0]).setFillColor(SERIES[0]);
    double top = Arrays.stream(counts).max().orElse(1) * 1.05;
    XYSeries line = chart.addSeries("limit", new double[] {limit, limit}, new double[] {0, top});
    line.setMarker(SeriesMarkers.NONE).setLineColor(SERIES[1]).setLineWidth(2f);
    chart.getStyler().setLegendVisible(false);
    chart.getStyler().setXAxisMin(0.0).setYAxisMin(0.0).setYAxisMax(top);
    chart.getStyler().setXAxisDecimalPattern("#,##0").setYAxisDecimalPattern("#,##0");
    return new Chart(List.of(chart), theme);
  }

  private static Chart curves(Map<String, List<Point>> runs, Theme theme) {
    double minutes = 0;
    for (List<Point> points : runs.values()) {
      minutes = Math.max(minutes, points.get(points.size() - 1).seconds() / 60);
    }
    List<XYChart> panels = new ArrayList<>();
    for (Map.Entry<String, List<Point>> run : runs.entrySet()) {
      List<Point> points = run.getValue();
      XYChart chart = panel("minutes", "loss", theme);
      long images = points.get(points.size() - 1).images();
      chart.setTitle(run.getKey());
      chart.setXAxisTitle("minutes (%,d images)".formatted(images));
      double[] x = points.stream().mapToDouble(point -> point.seconds() / 60).toArray();
      double[] y = points.stream().mapToDouble(Point::loss).toArray();
      lossSeries(chart, x, y);
      chart.getStyler().setXAxisMin(0.0).setXAxisMax(minutes).setXAxisDecimalPattern("#,##0.##");
      chart.getStyler().setYAxisDecimalPattern("0.####");
      panels.add(chart);
    }
    return new Chart(panels, theme);
  }

  /** An axis of figures; on a logarithmic one their logarithms are drawn. */
  private record Axis(String title, boolean logarithmic) {
    double place(double value) {
      return logarithmic ? Math.log10(value) : value;
    }

    String tick(double place) {
      double value = logarithmic ? Math.pow(10, place) : place;
      String pattern = value < 1 ? "0.##" : value < 10 ? "0.#" : "0";
      return new DecimalFormat(pattern, DecimalFormatSymbols.getInstance(Locale.ROOT))
          .format(value);
    }
  }

  private static Optional<Report.Plot> overCost(
      String title,
      Axis wanted,
      List<Measurement> rows,
      Function<Measurement, @Nullable Estimate> figure) {
    List<Measurement> measured = rows.stream().filter(row -> figure.apply(row) != null).toList();
    if (measured.isEmpty()) {
      return Optional.empty();
    }
    boolean positive = measured.stream().map(figure).allMatch(f -> f.low() > 0);
    Axis axis = new Axis(wanted.title(), wanted.logarithmic() && positive);
    return Optional.of(
        new Report.Plot(
            title,
            axis.title() + " over network evaluations, bars: 95 % intervals",
            overCost(axis, measured, figure, Theme.LIGHT),
            overCost(axis, measured, figure, Theme.DARK)));
  }

  private static Chart overCost(
      Axis axis,
      List<Measurement> rows,
      Function<Measurement, @Nullable Estimate> figure,
      Theme theme) {
    Map<String, List<Measurement>> byLabel = new LinkedHashMap<>();
    for (Measurement row : rows) {
      byLabel.computeIfAbsent(row.label(), label -> new ArrayList<>()).add(row);
    }
    List<Line> lines = byLabel.entrySet().stream().map(e -> line(axis, e, figure)).toList();
    if (lines.size() <= MOST_LINES) {
      XYChart chart = chart("network evaluations a picture", axis.title(), theme);
      lines.forEach(line -> add(chart, line));
      scale(chart, axis, lines, 120);
      return new Chart(List.of(chart), theme);
    }
    List<XYChart> panels = new ArrayList<>();
    for (Line line : lines) { // each before all the others in grey
      XYChart chart = panel("network evaluations", axis.title(), theme);
      chart.setTitle(line.label());
      for (Line other : lines) {
        if (other != line) {
          XYSeries grey = chart.addSeries(other.label(), other.x(), other.y());
          grey.setMarker(SeriesMarkers.NONE).setLineColor(theme.faint).setLineWidth(1.2f);
          grey.setLineStyle(SeriesLines.SOLID);
        }
      }
      XYSeries own = add(chart, line);
      own.setMarkerColor(SERIES[0]);
      own.setLineColor(SERIES[0]).setLineStyle(SeriesLines.SOLID);
      scale(chart, axis, lines, 45);
      panels.add(chart);
    }
    return new Chart(panels, theme);
  }

  /** A figure of systems that differ in steps alone, against log2 of their network evaluations. */
  @SuppressWarnings("ArrayRecordComponent") // drawn, never compared
  private record Line(String label, double[] x, double[] y, double[] bars) {}

  private static Line line(
      Axis axis,
      Map.Entry<String, List<Measurement>> rows,
      Function<Measurement, @Nullable Estimate> figure) {
    List<Measurement> points = new ArrayList<>(rows.getValue());
    points.sort((a, b) -> Integer.compare(a.networkEvaluations(), b.networkEvaluations()));
    List<Estimate> figures = points.stream().map(figure).toList();
    return new Line(
        rows.getKey(),
        points.stream().mapToDouble(m -> log2(m.networkEvaluations())).toArray(),
        figures.stream().mapToDouble(f -> axis.place(f.value())).toArray(),
        figures.stream()
            .mapToDouble(f -> (axis.place(f.high()) - axis.place(f.low())) / 2)
            .toArray());
  }

  private static XYSeries add(XYChart chart, Line line) {
    XYSeries series = chart.addSeries(line.label(), line.x(), line.y(), line.bars());
    series.setMarker(SeriesMarkers.CIRCLE).setLineWidth(2.5f);
    return series;
  }

  /** Axes that hold all lines, so that panels compare. */
  private static void scale(XYChart chart, Axis axis, List<Line> lines, int spacing) {
    double least = Double.MAX_VALUE;
    double most = -Double.MAX_VALUE;
    double first = Double.MAX_VALUE;
    double last = 0;
    for (Line line : lines) {
      for (int i = 0; i < line.x().length; i++) {
        least = Math.min(least, line.y()[i] - line.bars()[i]);
        most = Math.max(most, line.y()[i] + line.bars()[i]);
        first = Math.min(first, line.x()[i]);
        last = Math.max(last, line.x()[i]);
      }
    }
    XYStyler style = chart.getStyler();
    style.setYAxisMin(axis.logarithmic() ? least - 0.1 : 0.0);
    style.setYAxisMax(axis.logarithmic() ? most + 0.1 : most * 1.08);
    style.setYAxisTickLabelsFormattingFunction(axis::tick);
    style.setXAxisMin(Math.floor(first - 0.2)); // ticks are counted from here
    style.setXAxisMax(Math.ceil(last + 0.2));
    style.setXAxisTickLabelsFormattingFunction(Charts::powerOfTwo);
    style.setXAxisTickMarkSpacingHint(spacing);
  }

  private static Chart loss(double[] losses, Theme theme) {
    XYChart chart = chart("step", "loss", theme);
    double[] steps = IntStream.rangeClosed(1, losses.length).asDoubleStream().toArray();
    lossSeries(chart, steps, losses);
    XYStyler style = chart.getStyler();
    style.setXAxisMin(0.0).setXAxisMax((double) losses.length).setXAxisDecimalPattern("#,##0");
    style.setXAxisTickMarkSpacingHint(100).setYAxisDecimalPattern("0.###");
    return new Chart(List.of(chart), theme);
  }

  /** Pale as measured, strong as a running mean over 5 % of the run. */
  private static void lossSeries(XYChart chart, double[] x, double[] losses) {
    double[] smooth = new double[losses.length];
    int span = Math.max(1, losses.length / 20);
    double sum = 0;
    for (int i = 0; i < losses.length; i++) {
      sum += losses[i] - (i >= span ? losses[i - span] : 0);
      smooth[i] = sum / Math.min(i + 1, span);
    }
    Color strong = SERIES[0];
    XYSeries raw = add(chart, "each step", x, losses);
    raw.setLineColor(new Color(strong.getRed(), strong.getGreen(), strong.getBlue(), 120));
    raw.setLineWidth(1f);
    XYSeries mean = add(chart, "running mean", x, smooth);
    mean.setLineColor(strong);
    mean.setLineWidth(2.5f);
  }

  private static XYSeries add(XYChart chart, String name, double[] at, double[] values) {
    int stride = Math.max(1, (values.length + MOST_POINTS - 1) / MOST_POINTS);
    double[] x = new double[(values.length + stride - 1) / stride];
    double[] y = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      x[i] = at[i * stride];
      y[i] = values[i * stride];
    }
    XYSeries series = chart.addSeries(name, x, y);
    series.setMarker(SeriesMarkers.NONE);
    return series;
  }

  /** One of several: small, titled, without legend. */
  private static XYChart panel(String x, String y, Theme theme) {
    XYChart chart = chart(x, y, theme, PANEL_WIDTH, PANEL_HEIGHT);
    XYStyler style = chart.getStyler();
    style.setLegendVisible(false);
    style.setChartTitleVisible(true).setChartTitleBoxVisible(false).setChartTitlePadding(2);
    style.setChartTitleFont(new Font(Font.SANS_SERIF, Font.BOLD, 13));
    style.setAxisTitleFont(new Font(Font.SANS_SERIF, Font.PLAIN, 11));
    style.setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, 11));
    style.setXAxisTickMarkSpacingHint(60).setYAxisTickMarkSpacingHint(30);
    style.setMarkerSize(6);
    return chart;
  }

  private static XYChart chart(String x, String y, Theme theme) {
    return chart(x, y, theme, WIDTH, HEIGHT);
  }

  private static XYChart chart(String x, String y, Theme theme, int width, int height) {
    XYChart chart =
        new XYChartBuilder().width(width).height(height).xAxisTitle(x).yAxisTitle(y).build();
    XYStyler style = chart.getStyler();
    style.setLocale(Locale.ROOT);
    style.setBaseFont(new Font(Font.SANS_SERIF, Font.PLAIN, 14));
    style.setAxisTitleFont(new Font(Font.SANS_SERIF, Font.PLAIN, 15));
    style.setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, 14));
    style.setLegendFont(new Font(Font.SANS_SERIF, Font.PLAIN, 14));
    style.setChartBackgroundColor(theme.ground).setPlotBackgroundColor(theme.ground);
    style.setChartFontColor(theme.ink).setXAxisTitleColor(theme.ink);
    style.setYAxisTitleColor(theme.ink).setYAxisGroupTitleColor(0, theme.ink);
    style.setAxisTickLabelsColor(theme.ink).setAxisTickMarksColor(theme.grid);
    style.setXAxisTickLabelsColor(theme.ink).setYAxisTickLabelsColor(theme.ink);
    style.setPlotGridLinesColor(theme.grid).setPlotGridLinesStroke(new BasicStroke(1f));
    style.setPlotGridVerticalLinesVisible(false);
    style.setPlotBorderVisible(false);
    style.setLegendBackgroundColor(theme.ground).setLegendBorderColor(theme.ground);
    style.setLegendPosition(LegendPosition.OutsideS).setLegendLayout(LegendLayout.Vertical);
    style.setChartTitleVisible(false);
    style.setSeriesColors(SERIES);
    style.setMarkerSize(9);
    style.setErrorBarsColorSeriesColor(true);
    style.setChartPadding(8);
    return chart;
  }

  /** Of a whole exponent; nothing between two of them. */
  private static String powerOfTwo(double exponent) {
    boolean whole = Math.abs(exponent - Math.rint(exponent)) < 1e-6;
    return whole && exponent > -0.5 ? String.valueOf(1L << Math.round(exponent)) : "";
  }

  private static double log2(double value) {
    return Math.log(value) / Math.log(2);
  }
}
