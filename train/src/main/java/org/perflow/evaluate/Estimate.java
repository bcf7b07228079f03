package org.perflow.evaluate;

import java.util.Arrays;
import java.util.Locale;

/**
 * A figure measured on a sample of pictures, with what it comes to on resamples of them.
 *
 * <p>Estimates that one {@link Bootstrap}, or two of the same groups and seed, made of two systems
 * belong together resample by resample: {@link #minus} then pairs them, and what the two systems'
 * pictures have in common (hard captions, lucky noise) cancels.
 *
 * @param value on the pictures themselves
 * @param resampled on each resample, in the order of the resamples; none where there is no interval
 * @param samples how many pictures, or captions, it was measured on
 */
public record Estimate(double value, double[] resampled, int samples) {

  /** Lower end of the 95 % percentile interval; the value where there are no resamples. */
  public double low() {
    return quantile(0.025);
  }

  /** Upper end of the 95 % percentile interval. */
  public double high() {
    return quantile(0.975);
  }

  /**
   * This less {@code other}, paired by resample.
   *
   * @throws IllegalArgumentException where they have different numbers of resamples
   */
  public Estimate minus(Estimate other) {
    if (resampled.length != other.resampled.length) {
      throw new IllegalArgumentException(
          "a difference needs estimates over the same resamples; got "
              + resampled.length
              + " and "
              + other.resampled.length);
    }
    double[] differences = new double[resampled.length];
    for (int r = 0; r < differences.length; r++) {
      differences[r] = resampled[r] - other.resampled[r];
    }
    return new Estimate(value - other.value, differences, Math.min(samples, other.samples));
  }

  /** Whether the interval leaves zero out: of a difference, whether there is one to speak of. */
  public boolean isNotZero() {
    return low() > 0 || high() < 0;
  }

  /** The resamples moved so that their mean is the value: takes out the bias of resampling. */
  Estimate centred() {
    double shift = value - Arrays.stream(resampled).average().orElse(value);
    return new Estimate(value, Arrays.stream(resampled).map(r -> r + shift).toArray(), samples);
  }

  private double quantile(double share) {
    if (resampled.length == 0) {
      return value;
    }
    double[] sorted = resampled.clone();
    Arrays.sort(sorted);
    return sorted[(int) Math.round(share * (sorted.length - 1))];
  }

  /** "value [low, high]", each by {@code format}. */
  public String toText(String format) {
    String text = String.format(Locale.ROOT, format, value);
    return resampled.length == 0
        ? text
        : text + String.format(Locale.ROOT, " [" + format + ", " + format + "]", low(), high());
  }
}
