package org.perflow.compare;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.perflow.report.EvaluationReport;
import org.perflow.report.MeasurementsJson;
import org.perflow.report.Report;
import org.perflow.report.Report.Row.Kind;

/**
 * What came of the plug-and-play test.
 *
 * @param report what was measured on the fine-tune
 * @param refused why the other entries have no delta, by their names
 */
public record Transferred(EvaluationReport report, Map<String, String> refused) {
  public Transferred {
    refused = Collections.unmodifiableMap(new LinkedHashMap<>(refused));
  }

  /** The same for programs. */
  public record Json(MeasurementsJson comparison, Map<String, String> withoutDelta) {}

  /** For programs. */
  public Json json() {
    return new Json(report.json(), refused);
  }

  /** For a terminal. */
  public String table() {
    StringBuilder text = new StringBuilder(summary()).append("%n".formatted());
    refused.forEach((name, why) -> text.append("%s: no delta: %s%n".formatted(name, why)));
    return text + report.table();
  }

  private String summary() {
    return report.evaluated().summary();
  }

  /** For a page: a table and pictures. */
  public List<Report.Section> sections() {
    Report.Table figures = report.tables().comparison("Transfer to another fine-tune");
    List<Report.Row> rows = new ArrayList<>(figures.rows());
    StringBuilder note = new StringBuilder(summary()).append(' ').append(figures.note());
    refused.forEach(
        (name, why) -> {
          List<String> cells =
              new ArrayList<>(Collections.nCopies(figures.columns().size() - 1, "-"));
          cells.set(0, "no delta");
          rows.add(new Report.Row(Kind.FIGURES, name, cells));
          note.append(" No delta of ").append(name).append(": ").append(why).append('.');
        });
    return List.of(
        new Report.Table(figures.title(), figures.columns(), rows, note.toString()),
        new Report.Grid("Pictures of the fine-tune", report.evaluated().grid()));
  }
}
