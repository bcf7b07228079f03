package org.perflow.report;

import de.erichseifert.vectorgraphics2d.VectorGraphics2D;
import de.erichseifert.vectorgraphics2d.svg.SVGProcessor;
import de.erichseifert.vectorgraphics2d.util.PageSize;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import org.knowm.xchart.XYChart;

/**
 * A finished plot on a light or a dark ground, alone or as panels of one size in rows: as SVG for a
 * page, and as PNG at twice its size for sharp screens elsewhere.
 */
public final class Chart {
  private static final int SCALE = 2;
  private static final int PANELS_ACROSS = 3;

  /** Colours of the page around a chart. */
  enum Theme {
    LIGHT(Color.WHITE, new Color(0x1f2328), new Color(0xe3e6ea), new Color(0xc4cad2)),
    DARK(new Color(0x1b1f24), new Color(0xd5dae1), new Color(0x343b44), new Color(0x525b66));

    final Color ground;
    final Color ink;
    final Color grid;
    final Color faint; // lines in the background

    Theme(Color ground, Color ink, Color grid, Color faint) {
      this.ground = ground;
      this.ink = ink;
      this.grid = grid;
      this.faint = faint;
    }
  }

  private final List<XYChart> panels;
  private final Theme theme;

  Chart(List<XYChart> panels, Theme theme) {
    this.panels = List.copyOf(panels);
    this.theme = theme;
  }

  /** Whether it is of panels, which want the width of the page. */
  boolean isWide() {
    return panels.size() > 1;
  }

  private int across() {
    return Math.min(PANELS_ACROSS, panels.size());
  }

  private int width() {
    return across() * panels.get(0).getWidth();
  }

  private int height() {
    return (panels.size() + across() - 1) / across() * panels.get(0).getHeight();
  }

  private void paint(Graphics2D graphics) {
    graphics.setColor(theme.ground);
    graphics.fillRect(0, 0, width(), height());
    for (int i = 0; i < panels.size(); i++) {
      XYChart panel = panels.get(i);
      int x = i % across() * panel.getWidth();
      int y = i / across() * panel.getHeight();
      graphics.translate(x, y);
      panel.paint(graphics, panel.getWidth(), panel.getHeight());
      graphics.translate(-x, -y);
    }
  }

  /** As a picture. */
  public BufferedImage png() {
    BufferedImage image =
        new BufferedImage(width() * SCALE, height() * SCALE, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
    graphics.scale(SCALE, SCALE);
    paint(graphics);
    graphics.dispose();
    return image;
  }

  /** As the bytes of an SVG file. */
  public byte[] svg() {
    VectorGraphics2D graphics = new VectorGraphics2D();
    paint(graphics);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try {
      new SVGProcessor()
          .getDocument(graphics.getCommands(), new PageSize(0, 0, width(), height()))
          .writeTo(out);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return out.toByteArray();
  }
}
