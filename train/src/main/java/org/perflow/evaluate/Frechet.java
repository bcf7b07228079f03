package org.perflow.evaluate;

import java.util.Arrays;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Fréchet distance between two sets of features, each taken as a Gaussian: |m1-m2|² + tr(S1 + S2 -
 * 2 (S1 S2)^½) (Heusel et al. 2017, arXiv 1706.08500, eq. 6). Computed in float64 with tr (S1^½ S2
 * S1^½)^½, the same trace, so that two symmetric eigen-decompositions suffice and no complex number
 * appears. Biased upwards for few samples: compare only distances over the same number of pictures.
 */
public final class Frechet {
  private Frechet() {}

  /** Mean [D] and covariance [D × D], row-major, divided by count - 1; on the Java heap. */
  public record Gaussian(long count, double[] mean, double[] covariance) {
    public Gaussian {
      if (covariance.length != mean.length * mean.length) {
        throw new IllegalArgumentException(
            "a mean of "
                + mean.length
                + " features goes with "
                + mean.length * mean.length
                + " covariances; got "
                + covariance.length);
      }
    }

    /** Of features [N, D], N of 2 or more. */
    public static Gaussian of(Tensor features) {
      double[] once = new double[(int) features.size(0)];
      Arrays.fill(once, 1);
      return of(features, once);
    }

    /** The same with picture i counted {@code weights[i]} times. */
    static Gaussian of(Tensor features, double[] weights) {
      if (features.dim() != 2 || features.size(0) < 2) {
        throw new IllegalArgumentException(
            "a covariance needs features [N, D] of 2 pictures or more; got " + features);
      }
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        double count = Arrays.stream(weights).sum();
        Tensor w = Tensor.of(weights, weights.length, 1);
        Tensor x = features.to(DType.F64);
        Tensor mean = x.mul(w).sum(0).div(count); // [D]
        Tensor centred = x.sub(mean);
        Tensor covariance = centred.mul(w).transpose(0, 1).matmul(centred).div(count - 1);
        return new Gaussian((long) count, mean.toDoubleArray(), covariance.toDoubleArray());
      }
    }
  }

  /**
   * The distance with a bootstrap interval: pairs are resampled together, independent sets each for
   * itself. A resample holds fewer different pictures and so lies too far off; the resamples are
   * moved back by their mean.
   */
  public static Estimate between(FeatureSet drawn, FeatureSet reference, int resamples) {
    drawn.checkComparesWith(reference);
    double[] distances = new double[resamples];
    for (int r = 0; r < resamples; r++) {
      distances[r] =
          distance(
              Gaussian.of(drawn.features(), drawn.bootstrap().weights(r)),
              Gaussian.of(reference.features(), reference.bootstrap().weights(r)));
    }
    double value = distance(Gaussian.of(drawn.features()), Gaussian.of(reference.features()));
    return new Estimate(value, distances, drawn.size()).centred();
  }

  /**
   * The distance, 0 or more.
   *
   * @throws IllegalArgumentException where the numbers of features differ
   * @throws ArithmeticException where a feature was NaN or infinite
   */
  public static double distance(Gaussian a, Gaussian b) {
    int size = a.mean().length;
    if (b.mean().length != size) {
      throw new IllegalArgumentException(
          "features of " + size + " and " + b.mean().length + " numbers do not compare");
    }
    double meanTerm = 0;
    double traces = 0;
    for (int i = 0; i < size; i++) {
      meanTerm += Math.pow(a.mean()[i] - b.mean()[i], 2);
      traces += a.covariance()[i * size + i] + b.covariance()[i * size + i];
    }
    if (!Double.isFinite(meanTerm) || !Double.isFinite(traces)) {
      throw new ArithmeticException("a feature is NaN or infinite: look at the pictures");
    }
    return Math.max(0, meanTerm + traces - 2 * traceOfRoot(a, b)); // rounding may leave -1e-15
  }

  /** tr (A^½ B A^½)^½. */
  private static double traceOfRoot(Gaussian a, Gaussian b) {
    int size = a.mean().length;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Functional.Eigen eigen =
          Functional.symmetricEigen(Tensor.of(a.covariance(), size, size)); // A = V diag(l) Vᵀ
      Tensor scaled = eigen.vectors().mul(eigen.values().clamp(0, Double.MAX_VALUE).sqrt());
      Tensor root = scaled.matmul(eigen.vectors().transpose(0, 1)); // A^½
      Tensor product = root.matmul(Tensor.of(b.covariance(), size, size)).matmul(root);
      Tensor symmetric = product.add(product.transpose(0, 1)).mul(0.5);
      double[] values = Functional.symmetricEigen(symmetric).values().toDoubleArray();
      return Arrays.stream(values).map(v -> Math.sqrt(Math.max(0, v))).sum();
    }
  }
}
