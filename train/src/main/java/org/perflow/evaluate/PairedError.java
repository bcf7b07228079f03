package org.perflow.evaluate;

import java.util.Arrays;
import java.util.SplittableRandom;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * How far pictures lie from the reference drawn from the same noise, pair by pair: the error of a
 * solver or of a student that keeps the teacher's map from noise to picture.
 *
 * @param meanSquares mean squared difference of each pair
 * @param rmse root of their mean
 * @param low lower end of the 95 % bootstrap interval of {@code rmse} over pairs
 * @param high its upper end
 * @param psnr mean over pairs of -10 log10(mean square), for values in [0, 1]; equal pairs count as
 *     100 dB
 */
public record PairedError(double[] meanSquares, double rmse, double low, double high, double psnr) {
  private static final int RESAMPLES = 2000;

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

  /** From the mean squared difference of every pair; the interval is the same at each call. */
  public static PairedError of(double[] meanSquares) {
    int pairs = meanSquares.length;
    if (pairs == 0) {
      throw new IllegalArgumentException("a paired error needs one pair or more, got none");
    }
    SplittableRandom random = new SplittableRandom(0);
    double[] roots = new double[RESAMPLES];
    for (int r = 0; r < RESAMPLES; r++) {
      double sum = 0;
      for (int i = 0; i < pairs; i++) {
        sum += meanSquares[random.nextInt(pairs)];
      }
      roots[r] = Math.sqrt(sum / pairs);
    }
    Arrays.sort(roots);
    double mean = Arrays.stream(meanSquares).average().orElseThrow();
    double psnr =
        Arrays.stream(meanSquares)
            .map(m -> -10 * Math.log10(Math.max(m, 1e-10)))
            .average()
            .orElse(0);
    return new PairedError(
        meanSquares,
        Math.sqrt(mean),
        roots[(int) Math.round(0.025 * (RESAMPLES - 1))],
        roots[(int) Math.round(0.975 * (RESAMPLES - 1))],
        psnr);
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
