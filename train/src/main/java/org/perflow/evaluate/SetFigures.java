package org.perflow.evaluate;

/**
 * How a set of pictures compares with a reference set, by the features of one network.
 *
 * @param frechet {@link Frechet} distance
 * @param kernel {@link KernelDistance}
 * @param precision share of pictures that could be the reference's; {@link PrecisionRecall}
 * @param recall share of the reference that could have been drawn
 * @param density as precision, but less fooled by outliers; may exceed 1
 * @param coverage share of the reference's pictures with a drawn one near
 */
public record SetFigures(
    Estimate frechet,
    Estimate kernel,
    Estimate precision,
    Estimate recall,
    Estimate density,
    Estimate coverage) {

  /** Measures; the distances have intervals over {@code resamples}, the shares over 2000. */
  public static SetFigures between(FeatureSet drawn, FeatureSet reference, int resamples) {
    drawn.checkComparesWith(reference);
    PrecisionRecall shares = PrecisionRecall.of(drawn.features(), reference.features());
    return new SetFigures(
        Frechet.between(drawn, reference, resamples),
        KernelDistance.between(drawn, reference, resamples),
        drawn.bootstrap().mean(shares.precise()),
        reference.bootstrap().mean(shares.recalled()),
        drawn.bootstrap().mean(shares.density()),
        reference.bootstrap().mean(shares.covered()));
  }
}
