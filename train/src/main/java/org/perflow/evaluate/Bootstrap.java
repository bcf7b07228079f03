package org.perflow.evaluate;

import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;

/**
 * Resamples pictures to see how far a figure hangs on which ones were drawn (Efron 1979; clusters:
 * Davison and Hinkley 1997, section 3.8). Pictures of one caption resemble each other, so whole
 * captions are drawn with replacement, each with all of its pictures. Resample r is the same
 * whenever groups and seed are: figures of two systems on the same cases then pair up.
 */
public final class Bootstrap {
  /** Resamples of figures that are means; they cost next to nothing. */
  public static final int MEAN_RESAMPLES = 2000;

  private final int[] group; // of each picture
  private final int groups;
  private final long seed;

  private Bootstrap(int[] group, int groups, long seed) {
    this.group = group;
    this.groups = groups;
    this.seed = seed;
  }

  /** Over pictures of which those with equal keys (their captions) are drawn together. */
  public static Bootstrap byGroup(List<?> keys, long seed) {
    if (keys.isEmpty()) {
      throw new IllegalArgumentException("a bootstrap needs one picture or more, got none");
    }
    Map<Object, Integer> numbers = new LinkedHashMap<>();
    int[] group = new int[keys.size()];
    for (int i = 0; i < group.length; i++) {
      numbers.putIfAbsent(keys.get(i), numbers.size());
      group[i] = numbers.get(keys.get(i));
    }
    return new Bootstrap(group, numbers.size(), seed);
  }

  /** Over {@code pictures} that have nothing to do with each other. */
  public static Bootstrap byPicture(int pictures, long seed) {
    int[] group = new int[pictures];
    Arrays.setAll(group, i -> i);
    return byGroup(Arrays.stream(group).boxed().toList(), seed);
  }

  /** Number of pictures. */
  public int size() {
    return group.length;
  }

  /** How often resample {@code r} holds each picture. */
  public double[] weights(int r) {
    SplittableRandom random = new SplittableRandom(seed * 1_000_003 + r);
    double[] drawn = new double[groups];
    for (int i = 0; i < groups; i++) {
      drawn[random.nextInt(groups)]++;
    }
    return Arrays.stream(group).mapToDouble(g -> drawn[g]).toArray();
  }

  /** Of any figure that takes a weight for each picture; all weights are 1 for its value. */
  public Estimate of(ToDoubleFunction<double[]> figure, int resamples) {
    double[] once = new double[size()];
    Arrays.fill(once, 1);
    double[] resampled = new double[resamples];
    Arrays.setAll(resampled, r -> figure.applyAsDouble(weights(r)));
    return new Estimate(figure.applyAsDouble(once), resampled, size());
  }

  /** Of the mean of a value for each picture. */
  public Estimate mean(double[] values) {
    if (values.length != size()) {
      throw new IllegalArgumentException(
          "got " + values.length + " values for " + size() + " pictures");
    }
    return of(weights -> weightedMean(values, weights), MEAN_RESAMPLES);
  }

  /** Of the root of the mean of a square for each picture. */
  public Estimate rootMean(double[] squares) {
    Estimate mean = mean(squares);
    return new Estimate(
        Math.sqrt(mean.value()),
        Arrays.stream(mean.resampled()).map(Math::sqrt).toArray(),
        mean.samples());
  }

  /** Of the median of a value for each picture; of two in the middle the greater. */
  public Estimate median(double[] values) {
    int[] order =
        IntStream.range(0, values.length)
            .boxed()
            .sorted(Comparator.comparingDouble(i -> values[i]))
            .mapToInt(Integer::intValue)
            .toArray();
    return of(weights -> weightedMedian(values, order, weights), MEAN_RESAMPLES);
  }

  private static double weightedMedian(double[] values, int[] ascending, double[] weights) {
    double left = Arrays.stream(weights).sum() / 2;
    int i = 0;
    while (left >= weights[ascending[i]]) {
      left -= weights[ascending[i++]];
    }
    return values[ascending[i]];
  }

  private static double weightedMean(double[] values, double[] weights) {
    double sum = 0;
    double total = 0;
    for (int i = 0; i < values.length; i++) {
      sum += weights[i] * values[i];
      total += weights[i];
    }
    return sum / total;
  }
}
