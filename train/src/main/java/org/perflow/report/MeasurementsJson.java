package org.perflow.report;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.evaluate.Diversity;
import org.perflow.evaluate.Estimate;
import org.perflow.evaluate.Evaluated;
import org.perflow.evaluate.Measurement;
import org.perflow.evaluate.PairedError;
import org.perflow.evaluate.SetFigures;
import org.perflow.evaluate.Straightness;

/**
 * What stands in {@code measurements.json}: everything measured, without the errors of single
 * pictures. What was not measured is null.
 *
 * @param features name of the feature network
 * @param pictures of each system
 * @param systems the reference first, if there is one
 * @param differences of systems with as many network evaluations
 */
public record MeasurementsJson(
    String features,
    int pictures,
    @Nullable Figure textAgreementOfRealPictures,
    List<Row> systems,
    List<FigureTables.Difference> differences) {

  /** A figure with its 95 % interval and on how many pictures, or captions, it stands. */
  public record Figure(double value, double low, double high, int samples) {
    static @Nullable Figure of(@Nullable Estimate estimate) {
      return estimate == null
          ? null
          : new Figure(estimate.value(), estimate.low(), estimate.high(), estimate.samples());
    }
  }

  /** Figures of the pictures as a set; {@code features} names the network. */
  public record OfSet(
      String features,
      @Nullable Figure frechet,
      @Nullable Figure kernel,
      @Nullable Figure precision,
      @Nullable Figure recall,
      @Nullable Figure density,
      @Nullable Figure coverage) {
    static @Nullable OfSet of(String features, @Nullable SetFigures set) {
      return set == null
          ? null
          : new OfSet(
              features,
              Figure.of(set.frechet()),
              Figure.of(set.kernel()),
              Figure.of(set.precision()),
              Figure.of(set.recall()),
              Figure.of(set.density()),
              Figure.of(set.coverage()));
    }
  }

  /** Variety within a caption, by the network named. */
  public record OfDiversity(String features, @Nullable Figure distance, @Nullable Figure vendi) {
    static @Nullable OfDiversity of(String features, @Nullable Diversity diversity) {
      return diversity == null
          ? null
          : new OfDiversity(
              features, Figure.of(diversity.distance()), Figure.of(diversity.vendi()));
    }
  }

  /** A system. */
  public record Row(
      String system,
      int steps,
      int networkEvaluations,
      @Nullable Figure rmse,
      @Nullable Figure medianRmse,
      @Nullable Double psnr,
      @Nullable Double latentRmse,
      @Nullable OfSet set,
      @Nullable OfDiversity diversity,
      @Nullable Figure textAgreement,
      double secondsAPicture,
      double decodeSecondsAPicture,
      @Nullable Straightness inWindows,
      @Nullable Straightness noiseToPicture) {
    static Row of(String features, Measurement row) {
      PairedError pictures = row.pictures();
      PairedError latents = row.latents();
      return new Row(
          row.label(),
          row.steps(),
          row.networkEvaluations(),
          pictures == null ? null : Figure.of(pictures.error()),
          pictures == null ? null : Figure.of(pictures.median()),
          pictures == null ? null : pictures.psnr(),
          latents == null ? null : latents.rmse(),
          OfSet.of(features, row.set()),
          OfDiversity.of(features, row.diversity()),
          Figure.of(row.textAgreement()),
          row.seconds(),
          row.decodeSeconds(),
          row.inWindows(),
          row.rectified());
    }
  }

  /** Of all that was measured. */
  public static MeasurementsJson of(Evaluated evaluated) {
    return new MeasurementsJson(
        evaluated.features(),
        evaluated.pictures(),
        Figure.of(evaluated.textOfReal()),
        evaluated.rows().stream().map(row -> Row.of(evaluated.features(), row)).toList(),
        FigureTables.of(evaluated).differences());
  }
}
