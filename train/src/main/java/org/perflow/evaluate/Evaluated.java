package org.perflow.evaluate;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * What an evaluation found out, in plain values: it holds no native memory.
 *
 * @param features name of the feature network
 * @param pictures of each candidate
 * @param rows the reference first, if there is one, then the others in the order they were given
 * @param textOfReal {@link TextAgreement} of real pictures; null where it was not measured
 * @param grid the first pictures of each candidate
 * @param summary what was compared with what, in a sentence; empty where nobody says it
 * @param settings of the evaluation, as people read them, in order
 */
public record Evaluated(
    String features,
    int pictures,
    List<Measurement> rows,
    @Nullable Estimate textOfReal,
    PictureGrid grid,
    String summary,
    Map<String, String> settings) {

  public Evaluated {
    rows = List.copyOf(rows);
    settings = Collections.unmodifiableMap(new LinkedHashMap<>(settings));
  }

  /**
   * Draws the cases with every candidate and measures each against the reference.
   *
   * @param textOfReal what real pictures reach in text agreement; null where it was not measured
   * @param progress told how far it is
   */
  public static Evaluated of(
      Candidate reference,
      List<? extends Candidate> candidates,
      List<Case> cases,
      Evaluation.Measures measures,
      @Nullable Estimate textOfReal,
      Evaluation.Options options,
      Consumer<Evaluation.Progress> progress) {
    try (Evaluation evaluation =
        Evaluation.against(reference, cases, measures, options, progress)) {
      candidates.forEach(evaluation::measure);
      return new Evaluated(
          measures.features().name(),
          cases.size(),
          evaluation.rows(),
          textOfReal,
          evaluation.grid(),
          "",
          Map.of());
    }
  }

  /** The same under another summary and other settings. */
  public Evaluated about(String otherSummary, Map<String, String> otherSettings) {
    return new Evaluated(features, pictures, rows, textOfReal, grid, otherSummary, otherSettings);
  }
}
