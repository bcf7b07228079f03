package org.perflow.data;

import com.github.weisj.jsvg.SVGDocument;
import com.github.weisj.jsvg.parser.LoaderContext;
import com.github.weisj.jsvg.parser.SVGLoader;
import com.github.weisj.jsvg.view.ViewBox;
import java.awt.Color;
import java.awt.Component;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/** Draws SVG on white, four times as large as asked for and then averaged. One thread each. */
final class SvgRenderer {
  private static final int OVERSAMPLING = 4;

  private final SVGLoader loader = new SVGLoader();

  /** A {@code size} x {@code size} RGB picture; {@code name} is for the error message. */
  BufferedImage render(String svg, int size, String name) throws IOException {
    SVGDocument document =
        loader.load(
            new ByteArrayInputStream(svg.getBytes(StandardCharsets.UTF_8)),
            null,
            LoaderContext.createDefault());
    if (document == null) {
      throw new IOException(name + ": not an SVG document that can be drawn");
    }
    int large = size * OVERSAMPLING;
    BufferedImage picture = new BufferedImage(large, large, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = picture.createGraphics();
    graphics.setColor(Color.WHITE);
    graphics.fillRect(0, 0, large, large);
    graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
    graphics.setRenderingHint(RenderingHints.KEY_STROKE_CONTROL, RenderingHints.VALUE_STROKE_PURE);
    @Nullable Component none = null;
    document.render(none, graphics, new ViewBox(0, 0, large, large));
    graphics.dispose();
    return average(picture, size);
  }

  private static BufferedImage average(BufferedImage large, int size) {
    int n = OVERSAMPLING * OVERSAMPLING;
    BufferedImage small = new BufferedImage(size, size, BufferedImage.TYPE_INT_RGB);
    for (int y = 0; y < size; y++) {
      for (int x = 0; x < size; x++) {
        int red = n / 2;
        int green = n / 2;
        int blue = n / 2;
        for (int i = 0; i < n; i++) {
          int rgb =
              large.getRGB(
                  x * OVERSAMPLING + i % OVERSAMPLING, y * OVERSAMPLING + i / OVERSAMPLING);
          red += rgb >> 16 & 255;
          green += rgb >> 8 & 255;
          blue += rgb & 255;
        }
        small.setRGB(x, y, red / n << 16 | green / n << 8 | blue / n);
      }
    }
    return small;
  }
}
