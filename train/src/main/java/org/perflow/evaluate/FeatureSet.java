package org.perflow.evaluate;

import org.perflow.tensor.Tensor;

/**
 * Features of a set of pictures, and how to resample them. Two sets are pairs, picture i drawn for
 * the same caption from the same noise as the other's picture i, where they share one {@link
 * Bootstrap} object; else they are taken as independent and resampled independently.
 *
 * @param features [N, D], the caller's
 */
public record FeatureSet(Tensor features, Bootstrap bootstrap) {
  public FeatureSet {
    if (features.dim() != 2 || features.size(0) != bootstrap.size()) {
      throw new IllegalArgumentException(
          "got features " + features + ", expected [" + bootstrap.size() + ", D]");
    }
  }

  /** Number of pictures. */
  public int size() {
    return bootstrap.size();
  }

  boolean isPairedWith(FeatureSet other) {
    return bootstrap == other.bootstrap;
  }

  /** Refuses another number of features a picture. */
  void checkComparesWith(FeatureSet other) {
    if (features.size(1) != other.features.size(1)) {
      throw new IllegalArgumentException(
          "features of "
              + features.size(1)
              + " and "
              + other.features.size(1)
              + " numbers do not compare");
    }
  }
}
