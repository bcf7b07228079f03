package org.perflow.evaluate;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.knowm.xchart.VectorGraphicsEncoder;
import org.knowm.xchart.VectorGraphicsEncoder.VectorGraphicsFormat;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler.LegendLayout;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * The plots of a {@link Report}: as SVG for the page, and as PNG at twice their size for sharp
 * screens elsewhere.
 */
public final class Charts {
  private static final int WIDTH = 500;
  private static final int HEIGHT = 360;
  private static final int SCALE = 2;
  private static final int MOST_POINTS = 400;

  /** Colours of the page around a chart. */
  enum Theme {
    LIGHT(Color.WHITE, new Color(0x1f2328), new Color(0xe3e6ea)),
    DARK(new Color(0x1b1f24), new Color(0xd5dae1), new Color(0x343b44));

    final Color ground;
    final Color ink;
    final Color grid;

    Theme(Color ground, Color ink, Color grid) {
      this.ground = ground;
      this.ink = ink;
      this.grid = grid;
    }
  }

  /** Okabe and Ito's palette, which colour-blind readers tell apart, legible on both grounds. */
  private static final Color[] SERIES = {
    new Color(0x0072b2), new Color(0xd55e00), new Color(0x009e73),
    new Color(0xcc79a7), new Color(0xe69f00), new Color(0x56b4e9)
  };

  private Charts() {}

  /** A finished plot on one ground. */
  public static final class Drawn {
    private final XYChart chart;
    private final Theme theme;

    private Drawn(XYChart chart, Theme theme) {
      this.chart = chart;
      this.theme = theme;
    }

    /** As a picture. */
    public BufferedImage png() {
      return paint(chart, theme);
    }

    /** As the bytes of an SVG file. */
    public byte[] svg() {
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      try {
        VectorGraphicsEncoder.saveVectorGraphic(chart, out, VectorGraphicsFormat.SVG);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      return out.toByteArray();
    }
  }

  /**
   * Error of the pictures over network evaluations, one line a label; empty where nothing but the
   * reference was measured.
   */
  public static Optional<Report.Plot> errorOverCost(List<Measurement> rows) {
    return overCost(
        "Error over cost",
        "error (RMSE)",
        rows.stream().filter(row -> !row.isReference()).toList(),
        row -> row.pictures() == null ? null : row.pictures().error());
  }

  /** Fréchet distance over network evaluations, named by the feature network. */
  public static Optional<Report.Plot> distanceOverCost(String features, List<Measurement> rows) {
    return overCost(
        "Distance over cost",
        "FD (" + features + ")",
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

  private static Optional<Report.Plot> overCost(
      String title,
      String axis,
      List<Measurement> rows,
      Function<Measurement, @Nullable Estimate> figure) {
    List<Measurement> measured = rows.stream().filter(row -> figure.apply(row) != null).toList();
    return measured.isEmpty()
        ? Optional.empty()
        : Optional.of(
            new Report.Plot(
                title,
                axis + " over network evaluations, bars: 95 % intervals",
                overCost(axis, measured, figure, Theme.LIGHT),
                overCost(axis, measured, figure, Theme.DARK)));
  }

  private static Drawn overCost(
      String axis,
      List<Measurement> rows,
      Function<Measurement, @Nullable Estimate> figure,
      Theme theme) {
    XYChart chart = chart("network evaluations a picture", axis, theme);
    Map<String, List<Measurement>> byLabel = new LinkedHashMap<>();
    for (Measurement row : rows) {
      byLabel.computeIfAbsent(row.label(), label -> new ArrayList<>()).add(row);
    }
    double most = 0;
    for (Map.Entry<String, List<Measurement>> line : byLabel.entrySet()) {
      List<Measurement> points = new ArrayList<>(line.getValue());
      points.sort((a, b) -> Integer.compare(a.networkEvaluations(), b.networkEvaluations()));
      List<Estimate> figures = points.stream().map(figure).toList();
      double[] x = points.stream().mapToDouble(m -> log2(m.networkEvaluations())).toArray();
      double[] y = figures.stream().mapToDouble(Estimate::value).toArray();
      double[] bars = figures.stream().mapToDouble(f -> (f.high() - f.low()) / 2).toArray();
      chart.addSeries(line.getKey(), x, y, bars).setMarker(SeriesMarkers.CIRCLE).setLineWidth(2.5f);
      for (Estimate each : figures) {
        most = Math.max(most, each.high());
      }
    }
    XYStyler style = chart.getStyler();
    style.setYAxisMin(0.0).setYAxisMax(most * 1.08);
    style.setXAxisMin(Math.floor(lowest(byLabel) - 0.2));
    style.setXAxisMax(Math.ceil(highest(byLabel) + 0.2));
    style.setXAxisTickLabelsFormattingFunction(x -> String.valueOf(Math.round(Math.pow(2, x))));
    style.setXAxisTickMarkSpacingHint(120);
    style.setYAxisDecimalPattern("0.##");
    return new Drawn(chart, theme);
  }

  /** Training loss by step: pale as measured, strong as a running mean over 2 % of the run. */
  private static Drawn loss(double[] losses, Theme theme) {
    XYChart chart = chart("step", "loss", theme);
    double[] smooth = new double[losses.length];
    int span = Math.max(1, losses.length / 50);
    double sum = 0;
    for (int i = 0; i < losses.length; i++) {
      sum += losses[i] - (i >= span ? losses[i - span] : 0);
      smooth[i] = sum / Math.min(i + 1, span);
    }
    Color strong = SERIES[0];
    XYSeries raw = add(chart, "each step", losses);
    raw.setLineColor(new Color(strong.getRed(), strong.getGreen(), strong.getBlue(), 120));
    raw.setLineWidth(1f);
    XYSeries mean = add(chart, "running mean", smooth);
    mean.setLineColor(strong);
    mean.setLineWidth(2.5f);
    XYStyler style = chart.getStyler();
    style.setXAxisMin(0.0).setXAxisMax((double) losses.length).setXAxisDecimalPattern("#,##0");
    style.setXAxisTickMarkSpacingHint(100).setYAxisDecimalPattern("0.###");
    return new Drawn(chart, theme);
  }

  private static XYSeries add(XYChart chart, String name, double[] values) {
    int stride = Math.max(1, (values.length + MOST_POINTS - 1) / MOST_POINTS);
    double[] x = new double[(values.length + stride - 1) / stride];
    double[] y = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      x[i] = i * stride + 1;
      y[i] = values[i * stride];
    }
    XYSeries series = chart.addSeries(name, x, y);
    series.setMarker(SeriesMarkers.NONE);
    return series;
  }

  private static XYChart chart(String x, String y, Theme theme) {
    XYChart chart =
        new XYChartBuilder().width(WIDTH).height(HEIGHT).xAxisTitle(x).yAxisTitle(y).build();
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

  private static BufferedImage paint(XYChart chart, Theme theme) {
    BufferedImage image =
        new BufferedImage(WIDTH * SCALE, HEIGHT * SCALE, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
    graphics.setColor(theme.ground);
    graphics.fillRect(0, 0, image.getWidth(), image.getHeight());
    graphics.scale(SCALE, SCALE);
    chart.paint(graphics, WIDTH, HEIGHT);
    graphics.dispose();
    return image;
  }

  private static double lowest(Map<String, List<Measurement>> lines) {
    return lines.values().stream()
        .flatMap(List::stream)
        .mapToDouble(m -> log2(m.networkEvaluations()))
        .min()
        .orElse(0);
  }

  private static double highest(Map<String, List<Measurement>> lines) {
    return lines.values().stream()
        .flatMap(List::stream)
        .mapToDouble(m -> log2(m.networkEvaluations()))
        .max()
        .orElse(1);
  }

  private static double log2(double value) {
    return Math.log(value) / Math.log(2);
  }
}
