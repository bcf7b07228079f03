package org.perflow.distill.ring;

import de.erichseifert.vectorgraphics2d.Processors;
import de.erichseifert.vectorgraphics2d.VectorGraphics2D;
import de.erichseifert.vectorgraphics2d.util.PageSize;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.AffineTransform;
import java.awt.geom.Ellipse2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.OutputStream;
import java.util.List;
import java.util.Locale;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.Marker;
import org.knowm.xchart.style.markers.SeriesMarkers;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;

/** Trajectories in the plane, a panel each, over the ring; PNG and SVG show the same. */
public final class TrajectoryFigure {
  private static final int COLUMNS = 4;
  private static final int WIDTH = 290;
  private static final int HEIGHT = 346;
  private static final int KEY_HEIGHT = 40;
  private static final double EDGE = 2.8;
  private static final int PATHS = 20;
  private static final int NOISY_PATHS = 6; // they cross the plane at every step
  private static final int POINTS = 200;

  private static final Color INK = new Color(0x1f2328);
  private static final Color DATA = new Color(0xd5d9df);
  private static final Color TEACHER = new Color(0xa3aab4);
  private static final Color PATH = new Color(0x0072b2); // of Okabe and Ito's palette, as the next
  private static final Color WINDOW = new Color(0xe69f00);
  private static final Color PALE = new Color(0xf3b58e);
  private static final Color END = new Color(0xd55e00);

  private final List<Trajectories> panels;
  private final Trajectories teacher;

  /**
   * A figure of {@code panels}.
   *
   * @param teacher whose paths every panel shows behind its own
   */
  public TrajectoryFigure(Trajectories teacher, List<Trajectories> panels) {
    this.teacher = teacher;
    this.panels = List.copyOf(panels);
  }

  /** As a picture, {@code scale} pixels a point. */
  public BufferedImage png(double scale) {
    BufferedImage image =
        new BufferedImage(
            (int) (width() * scale), (int) (height() * scale), BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
    graphics.setRenderingHint(RenderingHints.KEY_STROKE_CONTROL, RenderingHints.VALUE_STROKE_PURE);
    graphics.scale(scale, scale);
    paint(graphics);
    graphics.dispose();
    return image;
  }

  /** Writes an SVG file to {@code out}. */
  public void svg(OutputStream out) throws IOException {
    VectorGraphics2D graphics = new VectorGraphics2D();
    paint(graphics);
    Processors.get("svg")
        .getDocument(graphics.getCommands(), new PageSize(width(), height()))
        .writeTo(out);
  }

  private int columns() {
    return Math.min(COLUMNS, panels.size());
  }

  private int width() {
    return WIDTH * columns();
  }

  private int height() {
    return KEY_HEIGHT + HEIGHT * ((panels.size() + columns() - 1) / columns());
  }

  private void paint(Graphics2D graphics) {
    graphics.setColor(Color.WHITE);
    graphics.fillRect(0, 0, width(), height());
    for (int i = 0; i < panels.size(); i++) {
      AffineTransform before = graphics.getTransform();
      graphics.translate(i % columns() * WIDTH, KEY_HEIGHT + i / columns() * HEIGHT);
      chart(panels.get(i)).paint(graphics, WIDTH, HEIGHT);
      graphics.setTransform(before);
    }
    key(graphics);
  }

  // ---------------------------------------------------------------- one panel

  private XYChart chart(Trajectories panel) {
    XYChart chart = blank(panel.summary());
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(5)) {
      float[] ring = Ring.points(POINTS, rng).toFloatArray();
      dots(chart, "ring", List.of(ring), POINTS, i -> true, new Dot(5, DATA));
    }
    List<float[]> drawn = List.of(panel.states().get(panel.states().size() - 1));
    dots(chart, "drawn", drawn, POINTS, i -> true, new Dot(3, PALE));
    List<float[]> states = panel.states();
    int last = states.size() - 1;
    int paths = panel.summary().noisy() ? NOISY_PATHS : PATHS;
    if (panel != teacher) {
      lines(chart, "teacher", teacher.states(), paths, TEACHER, 1f);
    }
    lines(chart, "paths", states, paths, PATH, 1.3f);
    dots(chart, "noise", states, paths, i -> i == 0, new Dot(5, PATH, Color.WHITE));
    if (last <= 16) {
      dots(chart, "states", states, paths, i -> i > 0 && i < last, new Dot(4, PATH));
    }
    dots(chart, "windows", states, paths, panel::betweenWindows, new Dot(6, INK, WINDOW));
    dots(chart, "samples", states, paths, i -> i == last, new Dot(6, END));
    return chart;
  }

  private static XYChart blank(Trajectories.Summary summary) {
    XYChart chart =
        new XYChartBuilder()
            .width(WIDTH)
            .height(HEIGHT)
            .title(
                "%s, %d step%s"
                    .formatted(summary.name(), summary.steps(), summary.steps() == 1 ? "" : "s"))
            .xAxisTitle(
                summary.start() == null
                    ? "energy distance %.3f".formatted(summary.end().energy())
                    : "energy distance %.3f → %.3f"
                        .formatted(summary.start().energy(), summary.end().energy()))
            .build();
    XYStyler style = chart.getStyler();
    style.setLocale(Locale.ROOT);
    style.setChartTitleFont(new Font(Font.SANS_SERIF, Font.BOLD, 17));
    style.setAxisTitleFont(new Font(Font.SANS_SERIF, Font.PLAIN, 16));
    style.setChartBackgroundColor(Color.WHITE).setPlotBackgroundColor(Color.WHITE);
    style.setChartFontColor(INK).setChartTitleBoxVisible(false).setXAxisTitleColor(INK);
    style.setPlotGridLinesVisible(false).setPlotContentSize(1).setPlotBorderColor(DATA);
    style.setAxisTicksVisible(false).setYAxisTitleVisible(false).setLegendVisible(false);
    style.setXAxisMin(-EDGE).setXAxisMax(EDGE).setYAxisMin(-EDGE).setYAxisMax(EDGE);
    style.setChartPadding(6);
    return chart;
  }

  /** The first paths, one after the other with gaps between. */
  private static void lines(
      XYChart chart, String name, List<float[]> states, int paths, Color color, float width) {
    int length = states.size() + 1;
    double[] x = new double[paths * length];
    double[] y = new double[x.length];
    for (int path = 0; path < paths; path++) {
      for (int i = 0; i < length; i++) {
        boolean gap = i == states.size();
        x[path * length + i] = gap ? 0 : states.get(i)[2 * path];
        y[path * length + i] = gap ? Double.NaN : states.get(i)[2 * path + 1];
      }
    }
    XYSeries series = chart.addSeries(name, x, y);
    series.setMarker(SeriesMarkers.NONE).setLineColor(color).setLineWidth(width);
  }

  private static void dots(
      XYChart chart, String name, List<float[]> states, int count, IntPredicate shown, Dot dot) {
    int[] which = IntStream.range(0, states.size()).filter(shown).toArray();
    double[] x = new double[which.length * count];
    double[] y = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      x[i] = states.get(which[i / count])[2 * (i % count)];
      y[i] = states.get(which[i / count])[2 * (i % count) + 1];
    }
    if (x.length > 0) {
      XYSeries series = chart.addSeries(name, x, y);
      series.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Scatter).setMarker(dot);
    }
  }

  /** A dot of its own size, which the library has for all series or none. */
  private static final class Dot extends Marker {
    private final double diameter;
    private final Color edge;
    private final Color inside;

    Dot(double diameter, Color edge, Color inside) {
      this.diameter = diameter;
      this.edge = edge;
      this.inside = inside;
    }

    Dot(double diameter, Color color) {
      this(diameter, color, color);
    }

    @Override
    public void paint(Graphics2D graphics, double x, double y, int unused) {
      var circle = new Ellipse2D.Double(x - diameter / 2, y - diameter / 2, diameter, diameter);
      graphics.setColor(inside);
      graphics.fill(circle);
      if (!edge.equals(inside)) {
        graphics.setStroke(new BasicStroke(1));
        graphics.setColor(edge);
        graphics.draw(circle);
      }
    }
  }

  // ---------------------------------------------------------------- key

  private void key(Graphics2D graphics) {
    graphics.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 16));
    double x = 16;
    x = entry(graphics, x, new Dot(5, PATH, Color.WHITE), "noise");
    x = entry(graphics, x, new Dot(4, PATH), "after a step");
    if (panels.stream().anyMatch(panel -> panel.summary().windows() > 1)) {
      x = entry(graphics, x, new Dot(6, INK, WINDOW), "between two windows");
    }
    x = entry(graphics, x, new Dot(6, END), "sample");
    x = entry(graphics, x, new Dot(3, PALE), "more samples");
    x = entry(graphics, x, new Dot(5, DATA), "the ring");
    graphics.setColor(TEACHER);
    graphics.setStroke(new BasicStroke(1.5f));
    graphics.drawLine((int) x, KEY_HEIGHT / 2, (int) x + 22, KEY_HEIGHT / 2);
    graphics.setColor(INK);
    graphics.drawString("the teacher's path", (float) x + 28, KEY_HEIGHT / 2 + 5);
  }

  private static double entry(Graphics2D graphics, double x, Dot dot, String text) {
    dot.paint(graphics, x, KEY_HEIGHT / 2.0, 0);
    graphics.setColor(INK);
    graphics.drawString(text, (float) x + 10, KEY_HEIGHT / 2 + 5);
    return x + 10 + graphics.getFontMetrics().stringWidth(text) + 26;
  }
}
