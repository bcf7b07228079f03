package org.perflow.report;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.perflow.evaluate.Estimate;
import org.perflow.evaluate.Evaluated;
import org.perflow.evaluate.Measurement;
import org.perflow.evaluate.PairedError;
import org.perflow.evaluate.SetFigures;
import org.perflow.evaluate.Straightness;
import org.perflow.evaluate.TextAgreement;
import org.perflow.report.Report.Row.Kind;

/**
 * Measurements as tables, for a terminal and for a {@link Report}. Every figure has its 95 %
 * interval in brackets and its feature network in its name. Systems stand beside those with as many
 * network evaluations; of these the best of a column is marked *, and all that cannot be told from
 * it ≈: the interval of their paired difference holds zero.
 *
 * @param features name of the feature network
 * @param pictures of each system
 * @param rows the reference first, if there is one; tables have the rest by network evaluations
 * @param textOfReal {@link TextAgreement} of real pictures; null where it was not measured
 */
public record FigureTables(
    String features, int pictures, List<Measurement> rows, @Nullable Estimate textOfReal) {
  private static final String SAME = "≈";
  private static final String BEST = "*";

  /** Beside error and coverage on the page only; a terminal has no room. */
  private static final Set<String> ON_THE_PAGE = Set.of("median", "density");

  /** Of all that was measured. */
  public static FigureTables of(Evaluated evaluated) {
    return new FigureTables(
        evaluated.features(), evaluated.pictures(), evaluated.rows(), evaluated.textOfReal());
  }

  private enum Better {
    LOWER,
    HIGHER,
    NEITHER
  }

  private record Column(
      String key,
      String heading,
      String format,
      Better better,
      Function<Measurement, @Nullable Estimate> figure) {}

  /** Two systems of equal cost by one figure: {@code difference} is a's less b's. */
  public record Difference(
      String figure,
      String a,
      String b,
      double difference,
      double low,
      double high,
      boolean real) {}

  private List<Column> columns() {
    String on = " (" + features + ")";
    return List.of(
        paired("error", "error", PairedError::error),
        paired("median", "median error", PairedError::median),
        set("frechet", "FD" + on, "%.3g", Better.LOWER, SetFigures::frechet),
        set("kernel", "KD" + on, "%.2g", Better.LOWER, SetFigures::kernel),
        set("precision", "precision", "%.2f", Better.HIGHER, SetFigures::precision),
        set("recall", "recall", "%.2f", Better.HIGHER, SetFigures::recall),
        set("density", "density", "%.2f", Better.HIGHER, SetFigures::density),
        set("coverage", "coverage", "%.2f", Better.HIGHER, SetFigures::coverage),
        new Column("diversity", "diversity", "%.2f", Better.NEITHER, FigureTables::diversity),
        new Column(
            "textAgreement", "text found", "%.2f", Better.HIGHER, Measurement::textAgreement));
  }

  private static Column set(
      String key,
      String heading,
      String format,
      Better better,
      Function<SetFigures, Estimate> figure) {
    return new Column(
        key, heading, format, better, row -> row.set() == null ? null : figure.apply(row.set()));
  }

  private static Column paired(String key, String heading, Function<PairedError, Estimate> figure) {
    return new Column(
        key,
        heading,
        "%.3f",
        Better.LOWER,
        row -> row.pictures() == null || row.isReference() ? null : figure.apply(row.pictures()));
  }

  private static @Nullable Estimate diversity(Measurement row) {
    return row.diversity() == null ? null : row.diversity().distance();
  }

  // ---------------------------------------------------------------- terminal

  /** For a terminal, at most 130 columns wide. */
  public String toText() {
    List<Column> columns = new ArrayList<>(columns());
    columns.removeIf(column -> ON_THE_PAGE.contains(column.key()));
    StringBuilder text = new StringBuilder();
    text.append(
        "%,d pictures of each; 95 %% intervals in brackets; features: %s%n%n"
            .formatted(pictures, features));
    table(text, columns.subList(0, 3), 21, true);
    table(text, columns.subList(3, columns.size()), 19, false);
    if (rows.stream().anyMatch(row -> row.pictures() != null)) {
      text.append(
          "error: RMSE to the first row's pictures from the same noise, values in 0..1; S: 0 is"
              + " straight\n");
    }
    if (textOfReal != null) {
      text.append("text found: caption nearest of 32; ").append(ofReal()).append('\n');
    }
    text.append(BEST)
        .append(": best of as many evaluations; ")
        .append(SAME)
        .append(": cannot be told from it (paired bootstrap)");
    return text.toString();
  }

  private String ofReal() {
    return textOfReal == null
        ? ""
        : "the %d real pictures that taught it: %s"
            .formatted(textOfReal.samples(), textOfReal.toText("%.2f"));
  }

  private void table(StringBuilder text, List<Column> all, int width, boolean costs) {
    List<Column> columns = all.stream().filter(this::isMeasured).toList();
    boolean drawn = rows.stream().anyMatch(row -> row.steps() > 0);
    boolean timed = costs && drawn;
    if (columns.isEmpty() && !timed) {
      return;
    }
    text.append("%-26s".formatted("system"))
        .append(drawn ? costs ? " steps  evals" : " steps" : "");
    columns.forEach(column -> text.append(("%" + width + "s").formatted(column.heading())));
    text.append(timed ? " s/picture       S%n".formatted() : "%n".formatted());
    int evaluations = -1;
    for (Measurement row : byCost()) {
      text.append(startsGroup(row, evaluations) && evaluations >= 0 ? "%n".formatted() : "");
      evaluations = row.networkEvaluations();
      text.append("%-26s".formatted(row.label()));
      text.append(drawn ? "%6d".formatted(row.steps()) : "");
      text.append(timed ? "%7d".formatted(row.networkEvaluations()) : "");
      for (Column column : columns) {
        String cell = cell(column, row).replaceAll("(?<![0-9.])0\\.", "."); // .103, not 0.103
        text.append(("%" + width + "s").formatted(cell));
      }
      if (timed) {
        Straightness bend = row.inWindows();
        text.append(
            "%10.3f %7s"
                .formatted(row.seconds(), bend == null ? "-" : "%.4f".formatted(bend.deviation())));
      }
      text.append("%n".formatted());
    }
    text.append("%n".formatted());
  }

  /** The reference first, then by network evaluations, else in the order of the rows. */
  private List<Measurement> byCost() {
    return rows.stream()
        .sorted(
            Comparator.comparing((Measurement row) -> !row.isReference())
                .thenComparing(Measurement::networkEvaluations))
        .toList();
  }

  private static boolean startsGroup(Measurement row, int evaluationsBefore) {
    return row.steps() > 0 && !row.isReference() && row.networkEvaluations() != evaluationsBefore;
  }

  private boolean isMeasured(Column column) {
    return rows.stream().anyMatch(row -> column.figure().apply(row) != null);
  }

  private String cell(Column column, Measurement row) {
    Estimate figure = column.figure().apply(row);
    if (figure == null) {
      return "-";
    }
    return figure.toText(column.format()) + mark(column, row);
  }

  /** How a system stands among those of equal cost: best, perhaps as good, worse for certain. */
  private String mark(Column column, Measurement row) {
    List<Measurement> equals =
        rows.stream()
            .filter(other -> other.networkEvaluations() == row.networkEvaluations())
            .filter(other -> !other.isReference() && column.figure().apply(other) != null)
            .toList();
    if (column.better() == Better.NEITHER || row.isReference() || equals.size() < 2) {
      return " ";
    }
    int sign = column.better() == Better.LOWER ? 1 : -1;
    Measurement best =
        Collections.min(
            equals, Comparator.comparing(other -> sign * figure(column, other).value()));
    if (best == row) {
      return BEST;
    }
    return figure(column, row).minus(figure(column, best)).isNotZero() ? " " : SAME;
  }

  private static Estimate figure(Column column, Measurement row) {
    Estimate figure = column.figure().apply(row);
    if (figure == null) {
      throw new IllegalStateException(row.title() + " has no " + column.key());
    }
    return figure;
  }

  /** All pairs of systems with as many network evaluations, by every figure that both have. */
  public List<Difference> differences() {
    List<Difference> differences = new ArrayList<>();
    for (Column column : columns()) {
      for (int i = 0; i < rows.size(); i++) {
        for (int j = i + 1; j < rows.size(); j++) {
          Measurement a = rows.get(i);
          Measurement b = rows.get(j);
          if (a.networkEvaluations() == b.networkEvaluations()
              && column.figure().apply(a) != null
              && column.figure().apply(b) != null) {
            Estimate d = figure(column, a).minus(figure(column, b));
            differences.add(
                new Difference(
                    column.heading(),
                    a.title(),
                    b.title(),
                    d.value(),
                    d.low(),
                    d.high(),
                    d.isNotZero()));
          }
        }
      }
    }
    return differences;
  }

  // ---------------------------------------------------------------- page

  /** For a {@link Report}: comparison, then straightness where it was measured. */
  public List<Report.Section> sections() {
    List<Report.Section> sections = new ArrayList<>(List.of(comparison("Comparison")));
    Map<String, Measurement> byLabel = new LinkedHashMap<>();
    rows.forEach(row -> byLabel.putIfAbsent(row.label(), row)); // does not depend on the steps
    byLabel.values().removeIf(row -> row.inWindows() == null || row.rectified() == null);
    if (!byLabel.isEmpty()) {
      sections.add(straightness(List.copyOf(byLabel.values())));
    }
    return sections;
  }

  /** All figures, in groups of as many network evaluations. */
  public Report.Table comparison(String title) {
    List<Column> columns = columns().stream().filter(this::isMeasured).toList();
    boolean drawn = rows.stream().anyMatch(row -> row.steps() > 0);
    List<String> headings = new ArrayList<>(List.of("System"));
    if (drawn) {
      headings.addAll(List.of("Steps", "Network evaluations", "Seconds a picture"));
    }
    columns.forEach(column -> headings.add(column.heading()));
    List<Report.Row> lines = new ArrayList<>();
    int evaluations = -1;
    for (Measurement row : byCost()) {
      if (startsGroup(row, evaluations)) {
        lines.add(new Report.Row(Kind.HEADING, evaluations(row.networkEvaluations()), List.of()));
      }
      evaluations = row.networkEvaluations();
      List<String> cells = new ArrayList<>();
      if (drawn) {
        cells.add(Integer.toString(row.steps()));
        cells.add(Integer.toString(row.networkEvaluations()));
        cells.add(format("%.3f", row.seconds()));
      }
      columns.forEach(column -> cells.add(cell(column, row).strip()));
      lines.add(new Report.Row(kind(row), row.label(), cells));
    }
    return new Report.Table(title, headings, lines, note());
  }

  private static Kind kind(Measurement row) {
    return row.isReference() ? Kind.REFERENCE : Kind.FIGURES;
  }

  private static String evaluations(int count) {
    return count + (count == 1 ? " network evaluation" : " network evaluations");
  }

  private String note() {
    return "%,d pictures of each system; 95 %% bootstrap intervals in brackets, captions resampled. "
            .formatted(pictures)
        + BEST
        + ": best of as many network evaluations. "
        + SAME
        + ": cannot be told from it, the interval of the paired difference holds zero. Error: root mean square difference to the reference's pictures"
        + " from the same noise, for values in [0, 1], of which few pictures that turn out otherwise"
        + " make most; half of the pictures are nearer than the median. FD, KD: Fréchet and kernel distance of"
        + " features of "
        + features
        + ", as are precision and recall (3 neighbours), density and coverage (5), and diversity"
        + " within a caption (1 − cosine). Text found: how often a picture's caption is the nearest of"
        + " 32"
        + (textOfReal == null ? "" : " (" + ofReal() + ")")
        + ". Network evaluations: guidance counts twice. Seconds: sampling only, median over"
        + " batches.";
  }

  private static Report.Table straightness(List<Measurement> rows) {
    List<Report.Row> lines =
        rows.stream()
            .map(
                row ->
                    new Report.Row(
                        Kind.FIGURES,
                        row.label(),
                        List.of(
                            format("%.4f", row.inWindows().deviation()),
                            format("%.4f", row.inWindows().curvature()),
                            format("%.4f", row.rectified().deviation()),
                            format("%.4f", row.rectified().curvature()))))
            .toList();
    return new Report.Table(
        "Straightness",
        List.of(
            "System",
            "S in windows",
            "Curvature in windows",
            "S, noise to picture",
            "Curvature, noise to picture"),
        lines,
        "0 is a straight line. S: squared deviation of the velocity from that of the straight path,"
            + " over the squared chord; curvature: 1 − chord / path length; over trajectories"
            + " recorded with many steps. In windows: latents against time, as PeRFlow straightens"
            + " them. Noise to picture: in rectified-flow coordinates.");
  }

  private static String format(String format, double value) {
    return String.format(Locale.ROOT, format, value);
  }
}
