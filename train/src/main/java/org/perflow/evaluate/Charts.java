package org.perflow.evaluate;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler.LegendLayout;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The plots of a {@link Report}, drawn at twice their size for sharp screens. */
final class Charts {
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

  /** Error of the pictures over network evaluations: one line a label, doubling axis. */
  static BufferedImage errors(List<Measurement> rows, Theme theme) {
    XYChart chart = chart("network evaluations a picture", "error (RMSE)", theme);
    Map<String, List<Measurement>> byLabel = new LinkedHashMap<>();
    for (Measurement row : rows) {
      if (row.pictures().rmse() > 0) { // the reference itself is no point of its curve
        byLabel.computeIfAbsent(row.label(), label -> new ArrayList<>()).add(row);
      }
    }
    double most = 0;
    for (Map.Entry<String, List<Measurement>> line : byLabel.entrySet()) {
      List<Measurement> points = new ArrayList<>(line.getValue());
      points.sort((a, b) -> Integer.compare(a.networkEvaluations(), b.networkEvaluations()));
      double[] x = points.stream().mapToDouble(m -> log2(m.networkEvaluations())).toArray();
      double[] y = points.stream().mapToDouble(m -> m.pictures().rmse()).toArray();
      chart.addSeries(line.getKey(), x, y).setMarker(SeriesMarkers.CIRCLE).setLineWidth(2.5f);
      for (double value : y) {
        most = Math.max(most, value);
      }
    }
    XYStyler style = chart.getStyler();
    style.setYAxisMin(0.0).setYAxisMax(most * 1.08);
    style.setXAxisMin(Math.floor(lowest(byLabel) - 0.2));
    style.setXAxisMax(Math.ceil(highest(byLabel) + 0.2));
    style.setXAxisTickLabelsFormattingFunction(x -> String.valueOf(Math.round(Math.pow(2, x))));
    style.setXAxisTickMarkSpacingHint(120);
    style.setYAxisDecimalPattern("0.00");
    return paint(chart, theme);
  }

  /** Training loss by step: pale as measured, strong as a running mean over 2 % of the run. */
  static BufferedImage loss(double[] losses, Theme theme) {
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
    return paint(chart, theme);
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
