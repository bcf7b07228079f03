package org.perflow.evaluate;

import org.jspecify.annotations.Nullable;

/**
 * What was found out about one way of drawing pictures; a row of the table. Null is what was not
 * measured: a folder of pictures has no steps, noise or trajectories.
 *
 * @param label names model and sampler; systems that differ in steps alone share it
 * @param steps sampling steps; 0 for pictures from elsewhere
 * @param networkEvaluations network evaluations of one picture: steps, twice that with guidance
 * @param pictures error of the pictures, in [0, 1], to the reference's from the same noise
 * @param latents error of the latents; null where they are of another shape than the reference's
 * @param set the pictures as a set, against the reference set; null for that set itself
 * @param diversity within a caption; null where no caption was drawn twice
 * @param textAgreement share of pictures by which their caption is found; {@link TextAgreement}
 * @param seconds of sampling a picture: median over batches, without text encoder and decoder
 * @param decodeSeconds of decoding a picture
 * @param inWindows straightness within PeRFlow's windows, latents against time
 * @param rectified straightness from noise to picture in rectified-flow coordinates
 */
public record Measurement(
    String label,
    int steps,
    int networkEvaluations,
    @Nullable PairedError pictures,
    @Nullable PairedError latents,
    @Nullable SetFigures set,
    @Nullable Diversity diversity,
    @Nullable Estimate textAgreement,
    double seconds,
    double decodeSeconds,
    @Nullable Straightness inWindows,
    @Nullable Straightness rectified) {

  /** Of a folder of pictures. */
  public static Measurement ofPictures(String label, SetFigures set) {
    return new Measurement(label, 0, 0, null, null, set, null, null, 0, 0, null, null);
  }

  /** Whether the others' errors are measured against this one. */
  public boolean isReference() {
    return pictures != null && pictures.rmse() == 0;
  }

  /** Label and steps, as tables and grids name it. */
  public String title() {
    return steps == 0 ? label : label + ", " + steps + (steps == 1 ? " step" : " steps");
  }
}
