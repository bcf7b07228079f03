package org.perflow.report;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.perflow.evaluate.PictureGrid;
import org.perflow.io.AtomicFiles;

/**
 * A comparison as one HTML file without anything outside it: tables, pictures, plots, settings.
 * Immutable; {@link #write} may be called from any thread.
 *
 * @param title heading
 * @param lead a paragraph below it, plain text
 * @param sections what follows, in this order
 */
public record Report(String title, String lead, List<Section> sections) {
  public Report {
    sections = List.copyOf(sections);
  }

  /** A part of the page. */
  public sealed interface Section {}

  /**
   * A table; all text plain.
   *
   * @param columns headings, that of the rows' names first
   * @param note a line below it
   */
  public record Table(String title, List<String> columns, List<Row> rows, String note)
      implements Section {
    public Table {
      columns = List.copyOf(columns);
      rows = List.copyOf(rows);
      for (Row row : rows) {
        if (row.kind() != Row.Kind.HEADING && row.cells().size() + 1 != columns.size()) {
          throw new IllegalArgumentException(
              "row \""
                  + row.name()
                  + "\" has "
                  + row.cells().size()
                  + " cells for "
                  + (columns.size() - 1)
                  + " columns");
        }
      }
    }
  }

  /** A row of a table. */
  public record Row(Kind kind, String name, List<String> cells) {
    /** What a row is. */
    public enum Kind {
      FIGURES,
      /** The others are measured against it. */
      REFERENCE,
      /** Names the rows below it, without cells. */
      HEADING
    }

    public Row {
      cells = List.copyOf(cells);
    }
  }

  /** Names and values: settings of the run, versions, hashes. */
  public record Settings(String title, Map<String, String> values) implements Section {
    /** Of a run. */
    public Settings(Map<String, String> values) {
      this("Settings and versions", values);
    }
  }

  /**
   * Pictures of any shape with a text below each.
   *
   * @param note a line below the heading
   */
  public record Gallery(String title, String note, List<Picture> pictures) implements Section {
    /** One of them. */
    public record Picture(String text, BufferedImage image) {}

    public Gallery {
      pictures = List.copyOf(pictures);
    }
  }

  /** A plot: what it shows, which stands below it too, and its drawing for either ground. */
  public record Plot(String title, String alt, Chart light, Chart dark) implements Section {}

  /** Pictures that start from the same noise. */
  public record Grid(String title, PictureGrid pictures) implements Section {}

  /** Writes the page and, beside it, its {@link #markdown}, each atomically. */
  public void write(Path file) throws IOException {
    byte[] page = html().getBytes(StandardCharsets.UTF_8);
    AtomicFiles.write(file, out -> out.write(page));
    String name = file.getFileName().toString().replaceFirst("\\.html$", "") + ".md";
    byte[] text = markdown().getBytes(StandardCharsets.UTF_8);
    AtomicFiles.write(file.resolveSibling(name), out -> out.write(text));
  }

  /** Its text, tables and settings as Markdown, to stand in documentation or a model card. */
  public String markdown() {
    StringBuilder text = new StringBuilder("# %s%n%n%s%n".formatted(title, lead));
    for (Section section : sections) {
      if (section instanceof Table table) {
        markdown(text, table);
      } else if (section instanceof Settings settings) {
        text.append("%n## %s%n%n".formatted(settings.title()));
        settings.values().forEach((name, is) -> text.append("* %s: %s%n".formatted(name, is)));
      }
    }
    return text.toString();
  }

  private static void markdown(StringBuilder text, Table table) {
    int columns = table.columns().size();
    text.append("%n## %s%n%n".formatted(table.title()));
    line(text, table.columns());
    line(text, Collections.nCopies(columns, "---"));
    for (Row row : table.rows()) {
      List<String> cells = new ArrayList<>(row.cells());
      cells.add(0, row.kind() == Row.Kind.HEADING ? "**" + row.name() + "**" : row.name());
      cells.addAll(Collections.nCopies(columns - cells.size(), ""));
      line(text, cells);
    }
    text.append("%n%s%n".formatted(table.note()));
  }

  private static void line(StringBuilder text, List<String> cells) {
    text.append("| ")
        .append(String.join(" | ", cells.stream().map(cell -> cell.replace("|", "\\|")).toList()))
        .append(" |\n");
  }

  /** The page. */
  public String html() {
    StringBuilder body = new StringBuilder();
    body.append("<h1>").append(text(title)).append("</h1>\n");
    body.append("<p class=\"lead\">").append(text(lead)).append("</p>\n");
    for (Section section : sections) {
      if (section instanceof Table table) {
        table(body, table);
      } else if (section instanceof Grid grid && !grid.pictures().lines().isEmpty()) {
        pictures(body, grid.title(), grid.pictures());
      } else if (section instanceof Plot plot) {
        plot(body, plot);
      } else if (section instanceof Settings settings) {
        settings(body, settings);
      } else if (section instanceof Gallery gallery) {
        gallery(body, gallery);
      }
    }
    return template().replace("@TITLE@", text(title)).replace("@BODY@", body);
  }

  private static void table(StringBuilder body, Table table) {
    body.append("<h2>").append(text(table.title())).append("</h2>\n<div class=\"wide\">");
    body.append("<table class=\"rows\"><thead><tr>");
    for (String column : table.columns()) {
      body.append("<th scope=\"col\">").append(text(column)).append("</th>");
    }
    body.append("</tr></thead><tbody>\n");
    for (Row row : table.rows()) {
      if (row.kind() == Row.Kind.HEADING) {
        body.append("<tr class=\"heading\"><th scope=\"rowgroup\">")
            .append(text(row.name()))
            .append("</th><td colspan=\"%d\"></td></tr>%n".formatted(table.columns().size() - 1));
        continue;
      }
      body.append(row.kind() == Row.Kind.REFERENCE ? "<tr class=\"reference\">" : "<tr>");
      body.append("<th scope=\"row\">").append(text(row.name())).append("</th>");
      for (String cell : row.cells()) {
        body.append("<td>").append(interval(text(cell))).append("</td>");
      }
      body.append("</tr>\n");
    }
    body.append("</tbody></table></div>\n<p class=\"note\">")
        .append(text(table.note()))
        .append("</p>\n");
  }

  /** An interval goes below its value, in small print. */
  private static String interval(String cell) {
    return cell.replaceFirst("^(\\S+) (\\[.*])(.*)$", "$1$3<br><small>$2</small>");
  }

  private static void pictures(StringBuilder body, String title, PictureGrid grid) {
    body.append("<h2>").append(text(title));
    body.append("</h2>\n<p class=\"note\">Each column starts from the same noise.</p>\n");
    body.append("<div class=\"wide\"><table class=\"grid\"><thead><tr><td></td>");
    for (String prompt : grid.prompts()) {
      body.append("<th scope=\"col\">").append(text(prompt)).append("</th>");
    }
    body.append("</tr></thead><tbody>\n");
    for (PictureGrid.Line line : grid.lines()) {
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

  private static void plot(StringBuilder body, Plot plot) {
    body.append("<h2>").append(text(plot.title())).append("</h2>\n");
    body.append("<picture><source media=\"(prefers-color-scheme: dark)\" srcset=\"")
        .append(dataUri("svg+xml", plot.dark().svg()))
        .append(
            plot.light().isWide()
                ? "\"><img class=\"chart panels\" alt=\""
                : "\"><img class=\"chart\" alt=\"")
        .append(text(plot.alt()))
        .append("\" src=\"")
        .append(dataUri("svg+xml", plot.light().svg()))
        .append("\"></picture>\n<p class=\"note\">")
        .append(text(plot.alt()))
        .append(".</p>\n");
  }

  private static void settings(StringBuilder body, Settings settings) {
    body.append("<h2>").append(text(settings.title())).append("</h2>\n<dl>\n");
    settings
        .values()
        .forEach(
            (name, value) ->
                body.append("<dt>")
                    .append(text(name))
                    .append("</dt><dd>")
                    .append(text(value))
                    .append("</dd>\n"));
    body.append("</dl>\n");
  }

  private static void gallery(StringBuilder body, Gallery gallery) {
    body.append("<h2>").append(text(gallery.title())).append("</h2>\n<p class=\"note\">");
    body.append(text(gallery.note())).append("</p>\n<div class=\"gallery\">\n");
    for (Gallery.Picture picture : gallery.pictures()) {
      body.append("<figure><img alt=\"\" src=\"") // the text is beside it
          .append(dataUri(picture.image()))
          .append("\"><figcaption>")
          .append(text(picture.text()))
          .append("</figcaption></figure>\n");
    }
    body.append("</div>\n");
  }

  private static String dataUri(String type, byte[] bytes) {
    return "data:image/" + type + ";base64," + Base64.getEncoder().encodeToString(bytes);
  }

  private static String dataUri(BufferedImage image) {
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    try {
      ImageIO.write(image, "png", png);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return dataUri("png", png.toByteArray());
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
