package org.perflow.evaluate;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import javax.imageio.ImageIO;
import org.perflow.io.AtomicFiles;

/**
 * A comparison as one HTML file without anything outside it: table, pictures, plots, settings.
 * Immutable; {@link #write} may be called from any thread.
 *
 * @param title heading
 * @param summary a paragraph below it, plain text
 * @param distanceName how the Fréchet distance is called, {@link FeatureNetwork#distanceName}
 * @param rows the table; the reference is the row whose error is 0
 * @param grid drawn pictures; an empty one is left out
 * @param losses loss of every training step; none where nothing was trained
 * @param settings names and values: settings of the run, versions, hashes
 */
public record Report(
    String title,
    String summary,
    String distanceName,
    List<Measurement> rows,
    Grid grid,
    double[] losses,
    Map<String, String> settings) {

  /** Pictures: a line a system, a column a prompt. */
  public record Grid(List<String> prompts, List<Line> lines) {
    public Grid {
      prompts = List.copyOf(prompts);
      lines = List.copyOf(lines);
      for (Line line : lines) {
        if (line.pictures().size() != prompts.size()) {
          throw new IllegalArgumentException(
              "line \""
                  + line.title()
                  + "\" has "
                  + line.pictures().size()
                  + " pictures for "
                  + prompts.size()
                  + " prompts");
        }
      }
    }

    /** No pictures. */
    public static Grid none() {
      return new Grid(List.of(), List.of());
    }
  }

  /** Pictures of one system, one a prompt. */
  public record Line(String title, List<BufferedImage> pictures) {}

  /** Writes the file, atomically. */
  public void write(Path file) throws IOException {
    byte[] bytes = html().getBytes(StandardCharsets.UTF_8);
    AtomicFiles.write(file, out -> out.write(bytes));
  }

  /** The page. */
  public String html() {
    StringBuilder body = new StringBuilder();
    body.append("<h1>").append(text(title)).append("</h1>\n");
    body.append("<p class=\"lead\">").append(text(summary)).append("</p>\n");
    comparison(body);
    if (!grid.lines().isEmpty()) {
      pictures(body);
    }
    if (rows.stream().anyMatch(row -> row.pictures().rmse() > 0)) {
      body.append("<h2>Error over cost</h2>\n");
      chart(
          body,
          "Error to the reference over network evaluations",
          Charts.errors(rows, Charts.Theme.LIGHT),
          Charts.errors(rows, Charts.Theme.DARK));
    }
    if (losses.length > 1) {
      body.append("<h2>Training loss</h2>\n");
      chart(
          body,
          "Loss by training step",
          Charts.loss(losses, Charts.Theme.LIGHT),
          Charts.loss(losses, Charts.Theme.DARK));
    }
    straightness(body);
    settings(body);
    return template().replace("@TITLE@", text(title)).replace("@BODY@", body);
  }

  private void comparison(StringBuilder body) {
    head(
        body,
        "Comparison",
        "System",
        "Steps",
        "Network evaluations",
        "Error (RMSE)",
        "95 % interval",
        "PSNR",
        distanceName,
        "Seconds a picture");
    for (Measurement row : rows) {
      boolean reference = row.pictures().rmse() == 0;
      body.append(reference ? "<tr class=\"reference\">" : "<tr>");
      body.append("<th scope=\"row\">").append(text(row.label())).append("</th>");
      cell(body, "%d", row.steps());
      cell(body, "%d", row.networkEvaluations());
      if (reference) {
        body.append("<td colspan=\"4\" class=\"note\">the reference</td>");
      } else {
        cell(body, "%.4f", row.pictures().rmse());
        cell(body, "%.4f–%.4f", row.pictures().error().low(), row.pictures().error().high());
        cell(body, "%.1f dB", row.pictures().psnr());
        cell(body, "%.4g", row.frechet());
      }
      cell(body, "%.3f", row.seconds());
      body.append("</tr>\n");
    }
    body.append("</tbody></table></div>\n<p class=\"note\">Error: root mean square difference to")
        .append(" the reference's pictures from the same noise, for values in [0, 1]. Network")
        .append(" evaluations: guidance counts twice. Seconds: sampling only, median over")
        .append(" batches.</p>\n");
  }

  private void straightness(StringBuilder body) {
    head(
        body,
        "Straightness",
        "System",
        "S in windows",
        "Curvature in windows",
        "S, noise to picture",
        "Curvature, noise to picture");
    Map<String, Measurement> byLabel = new LinkedHashMap<>();
    rows.forEach(row -> byLabel.putIfAbsent(row.label(), row)); // does not depend on the steps
    for (Measurement row : byLabel.values()) {
      body.append("<tr><th scope=\"row\">").append(text(row.label())).append("</th>");
      cell(body, "%.4f", row.inWindows().deviation());
      cell(body, "%.4f", row.inWindows().curvature());
      cell(body, "%.4f", row.rectified().deviation());
      cell(body, "%.4f", row.rectified().curvature());
      body.append("</tr>\n");
    }
    body.append("</tbody></table></div>\n<p class=\"note\">0 is a straight line. S: squared")
        .append(" deviation of the velocity from that of the straight path, over the squared")
        .append(" chord; curvature: 1 − chord / path length; over trajectories recorded with many")
        .append(" steps. In windows: latents against time, as PeRFlow straightens them. Noise to")
        .append(" picture: in rectified-flow coordinates.</p>\n");
  }

  private static void head(StringBuilder body, String title, String... columns) {
    body.append("<h2>").append(title).append("</h2>\n<div class=\"wide\">");
    body.append("<table class=\"rows\"><thead><tr>");
    for (String column : columns) {
      body.append("<th scope=\"col\">").append(text(column)).append("</th>");
    }
    body.append("</tr></thead><tbody>\n");
  }

  private static void cell(StringBuilder body, String format, Object... values) {
    body.append("<td>").append(String.format(Locale.ROOT, format, values)).append("</td>");
  }

  private void pictures(StringBuilder body) {
    body.append(
        "<h2>Pictures</h2>\n<p class=\"note\">Each column starts from the same noise.</p>\n");
    body.append("<div class=\"wide\"><table class=\"grid\"><thead><tr><td></td>");
    for (String prompt : grid.prompts()) {
      body.append("<th scope=\"col\">").append(text(prompt)).append("</th>");
    }
    body.append("</tr></thead><tbody>\n");
    for (Line line : grid.lines()) {
      body.append("<tr><th scope=\"row\">").append(text(line.title())).append("</th>");
      for (int i = 0; i < line.pictures().size(); i++) {
        String alt = text(line.title() + ": " + grid.prompts().get(i));
        body.append("<td><img alt=\"")
            .append(alt)
            .append("\" src=\"")
            .append(dataUri(line.pictures().get(i)))
            .append("\"></td>");
      }
      body.append("</tr>\n");
    }
    body.append("</tbody></table></div>\n");
  }

  private static void chart(
      StringBuilder body, String alt, BufferedImage light, BufferedImage dark) {
    body.append("<picture><source media=\"(prefers-color-scheme: dark)\" srcset=\"")
        .append(dataUri(dark))
        .append("\"><img class=\"chart\" alt=\"")
        .append(text(alt))
        .append("\" src=\"")
        .append(dataUri(light))
        .append("\"></picture>\n");
  }

  private void settings(StringBuilder body) {
    body.append("<h2>Settings and versions</h2>\n<dl>\n");
    settings.forEach(
        (name, value) ->
            body.append("<dt>")
                .append(text(name))
                .append("</dt><dd>")
                .append(text(value))
                .append("</dd>\n"));
    body.append("</dl>\n");
  }

  private static String dataUri(BufferedImage image) {
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    try {
      ImageIO.write(image, "png", png);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return "data:image/png;base64," + Base64.getEncoder().encodeToString(png.toByteArray());
  }

  private static String text(String plain) {
    return plain
        .replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("\"", "&quot;");
  }

  private static String template() {
    try (InputStream in = Report.class.getResourceAsStream("report.html")) {
      if (in == null) {
        throw new IllegalStateException("report.html is missing from the jar");
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
