package org.perflow.evaluate;

import java.util.Arrays;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * How far pictures lie from the reference drawn from the same noise, pair by pair: the error of a
 * solver or of a student that keeps the teacher's map from noise to picture.
 *
 * @param meanSquares mean squared difference of each pair
 * @param error root of their mean; few pairs that went another way make most of it
 * @param median root of their median: half of the pairs are nearer than this
 * @param psnr mean over pairs of -10 log10(mean square), for values in [0, 1]; equal pairs count as
 *     100 dB
 */
public record PairedError(double[] meanSquares, Estimate error, Estimate median, double psnr) {

  /** Pictures [B, 3, H, W] in [-1, 1], clamped and measured in [0, 1]. */
  public static PairedError ofPictures(Tensor pictures, Tensor reference) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return of(meanSquares(unit(pictures), unit(reference)));
    }
  }

  /** Latents [B, C, H, W], measured as they are (their PSNR has no meaning). */
  public static PairedError ofLatents(Tensor latents, Tensor reference) {
    return of(meanSquares(latents, reference));
  }

  /** From the mean squared difference of every pair, each resampled for itself. */
  public static PairedError of(double[] meanSquares) {
    return of(meanSquares, Bootstrap.byPicture(meanSquares.length, 0));
  }

  /** From the mean squared difference of every pair. */
  public static PairedError of(double[] meanSquares, Bootstrap bootstrap) {
    double psnr =
        Arrays.stream(meanSquares)
            .map(m -> -10 * Math.log10(Math.max(m, 1e-10)))
            .average()
            .orElse(0);
    double[] roots = Arrays.stream(meanSquares).map(Math::sqrt).toArray();
    return new PairedError(
        meanSquares, bootstrap.rootMean(meanSquares), bootstrap.median(roots), psnr);
  }

  /** Root of the mean over pairs of the mean square. */
  public double rmse() {
    return error.value();
  }

  /** Mean squared difference of each pair of rows. */
  public static double[] meanSquares(Tensor a, Tensor b) {
    if (!Arrays.equals(a.shape(), b.shape()) || a.dim() < 2) {
      throw new IllegalArgumentException(
          "pairs need two batches of one shape; got " + a + " and " + b);
    }
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor difference = a.to(DType.F32).sub(b.to(DType.F32)).reshape(a.size(0), -1);
      return difference.square().mean(1).toDoubleArray();
    }
  }

  private static Tensor unit(Tensor pictures) {
    return pictures.to(DType.F32).add(1).mul(0.5).clamp(0, 1);
  }
}
