package org.perflow.compare;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.report.EvaluationReport;
import org.perflow.report.MeasurementsJson;

/**
 * What a {@link Comparison} found out; all of it is on disk, too.
 *
 * @param report what was measured on the teacher's captions
 * @param training what training took, by the entries' names
 * @param transfer what came of the plug-and-play test; null where the plan has none
 */
public record Compared(
    EvaluationReport report, Map<String, Training> training, @Nullable Transferred transfer) {
  public Compared {
    training = Collections.unmodifiableMap(new LinkedHashMap<>(training));
  }

  /** The same for programs. */
  public record Json(
      MeasurementsJson comparison,
      Map<String, Training> training,
      Transferred.@Nullable Json transfer) {}

  /** For programs. */
  public Json json() {
    return new Json(report.json(), training, transfer == null ? null : transfer.json());
  }

  /** For a terminal. */
  public String table() {
    return report.table() + (transfer == null ? "" : "%n%n%s".formatted(transfer.table()));
  }

  void write(Path folder) throws IOException {
    report.write(folder);
  }
}
