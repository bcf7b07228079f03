package org.perflow.evaluate;

/**
 * What {@link Evaluation} found out about one way of drawing pictures; a row of its table.
 *
 * @param label names model and sampler; systems that differ in steps alone share it
 * @param steps sampling steps
 * @param networkEvaluations U-Net evaluations of one picture: steps, twice that with guidance
 * @param pictures error of the pictures, in [0, 1], to the reference's
 * @param latents error of the latents
 * @param frechet Fréchet distance of the features to the reference set's
 * @param seconds of sampling a picture: median over batches, without text encoder and decoder
 * @param decodeSeconds of decoding a picture
 * @param inWindows straightness within PeRFlow's windows, latents against time
 * @param rectified straightness from noise to picture in rectified-flow coordinates
 */
public record Measurement(
    String label,
    int steps,
    int networkEvaluations,
    PairedError pictures,
    PairedError latents,
    double frechet,
    double seconds,
    double decodeSeconds,
    Straightness inWindows,
    Straightness rectified) {

  /** Label and steps, as tables and grids name it. */
  public String title() {
    return label + ", " + steps + (steps == 1 ? " step" : " steps");
  }
}
