package org.perflow.evaluate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Kernel distance between two sets of features (Bińkowski et al. 2018, arXiv 1801.01401, "KID"):
 * squared maximum mean discrepancy with the kernel k(x, y) = (x·y/D + 1)³, unbiased, so that unlike
 * the {@link Frechet} distance it compares across numbers of pictures and may fall below zero. As
 * usual, the mean over 100 random subsets of 1000 pictures; of 1000 or fewer, all at once.
 *
 * <p>For independent sets Gretton et al. 2012, eq. 3; for pairs (same caption, same noise) their
 * eq. 4, which leaves k(xᵢ, yᵢ) out too: pairs resemble each other, and would pull it below zero.
 */
public final class KernelDistance {
  private static final int SUBSETS = 100;
  private static final int MOST = 1000;
  private static final int TILE = 512;

  private KernelDistance() {}

  /** The distance, with a bootstrap interval over {@code resamples}. */
  public static Estimate between(FeatureSet drawn, FeatureSet reference, int resamples) {
    drawn.checkComparesWith(reference);
    boolean paired = drawn.isPairedWith(reference);
    int most = Math.min(MOST, Math.min(drawn.size(), reference.size()));
    if (most < 2) {
      throw new IllegalArgumentException("a kernel distance needs 2 pictures or more in each set");
    }
    int subsets = most == drawn.size() && most == reference.size() ? 1 : SUBSETS;
    List<double[]> ofDrawn = subsets(drawn.size(), most, subsets, 1);
    List<double[]> ofReference =
        paired ? ofDrawn : new ArrayList<>(subsets(reference.size(), most, subsets, 2));
    for (int r = 0; r < resamples; r++) {
      ofDrawn.add(drawn.bootstrap().weights(r));
      if (!paired) {
        ofReference.add(reference.bootstrap().weights(r));
      }
    }
    double[] all = weighted(drawn.features(), reference.features(), ofDrawn, ofReference, paired);
    double value = Arrays.stream(all, 0, subsets).average().orElseThrow();
    return new Estimate(value, Arrays.copyOfRange(all, subsets, all.length), drawn.size());
  }

  /** 0 or 1 for each picture: random subsets, or everything once. */
  private static List<double[]> subsets(int pictures, int most, int subsets, long seed) {
    List<double[]> chosen = new ArrayList<>();
    SplittableRandom random = new SplittableRandom(seed);
    for (int s = 0; s < subsets; s++) {
      double[] weights = new double[pictures];
      for (int left = most, i = 0; i < pictures; i++) { // each subset is equally likely
        if (random.nextInt(pictures - i) < left) {
          weights[i] = 1;
          left--;
        }
      }
      chosen.add(weights);
    }
    return chosen;
  }

  /** The statistic for every pair of rows of weights; a picture is never compared with itself. */
  private static double[] weighted(
      Tensor x, Tensor y, List<double[]> weightsX, List<double[]> weightsY, boolean paired) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor a = x.to(DType.F64);
      Tensor b = y.to(DType.F64);
      Tensor w = rows(weightsX); // [R, N]
      Tensor v = paired ? w : rows(weightsY); // [R, M]
      Tensor within = mean(a, a, w, w, true).add(mean(b, b, v, v, true));
      return within.sub(mean(a, b, w, v, paired).mul(2)).toDoubleArray(); // [R]
    }
  }

  private static Tensor rows(List<double[]> weights) {
    return Tensor.stack(0, weights.stream().map(row -> Tensor.of(row, row.length)).toList());
  }

  /** Weighted means [R] of the kernel over all pairs, of which {@code apart} leaves (i, i) out. */
  private static Tensor mean(Tensor x, Tensor y, Tensor w, Tensor v, boolean apart) {
    try (Scope scope = Scope.open()) {
      Tensor sum = Tensor.zeros(DType.F64, w.size(0));
      for (long from = 0; from < x.size(0); from += TILE) {
        long count = Math.min(TILE, x.size(0) - from);
        try (Scope tile = Scope.open()) {
          Tensor kernel = kernel(x.narrow(0, from, count).matmul(y.transpose(0, 1)), x.size(1));
          Tensor part = w.narrow(1, from, count).matmul(kernel); // [R, M]
          sum.addInPlace(part.mul(v).sum(1));
        }
      }
      Tensor pairs = w.sum(1).mul(v.sum(1));
      if (apart) {
        Tensor both = w.mul(v); // [R, N]
        sum = sum.sub(both.mul(kernel(x.mul(y).sum(1), x.size(1))).sum(1));
        pairs = pairs.sub(both.sum(1));
      }
      return scope.keep(sum.div(pairs));
    }
  }

  private static Tensor kernel(Tensor products, long width) {
    return products.div(width).add(1).pow(3);
  }
}
