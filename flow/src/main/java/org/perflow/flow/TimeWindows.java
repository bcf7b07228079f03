package org.perflow.flow;

import java.util.List;
import java.util.stream.IntStream;

/**
 * Time (0, 1] cut into K equal windows ((k−1)/K, k/K]; the flow is a straight line inside each
 * (PeRFlow, arXiv 2405.07510, section 2.2). Immutable.
 *
 * @param count K, at least 1
 */
public record TimeWindows(int count) {
  /** A time this little above a boundary still belongs to the cleaner window, as its start. */
  public static final double TOLERANCE = 1e-4;

  /**
   * One window: from {@code start} (noisy side, included) down to {@code end} (excluded).
   *
   * @param k 1 (cleanest) ... K (noisiest)
   * @param count K
   */
  public record Window(int k, int count) {
    /** t_k = k/K. */
    public double start() {
      return (double) k / count;
    }

    /** t_{k−1}; 0 for the last. */
    public double end() {
      return (double) (k - 1) / count;
    }

    /** Δ = 1/K. */
    public double width() {
      return 1.0 / count;
    }

    /** r = (t_k − t)/Δ: 0 at the start, towards 1 at the end. */
    public double progress(double t) {
      return (start() - t) * count;
    }

    /** Index of the start in a table of {@code size}: ⌊T t_k⌋ − 1; 999, 749, ... for K = 4. */
    public int startIndex(int size) {
      return Math.max(size * k / count - 1, 0);
    }

    /** Index of the end, −1 (the final level) for the last window. */
    public int endIndex(int size) {
      return k == 1 ? -1 : Math.max(size * (k - 1) / count - 1, 0);
    }
  }

  /** Refuses fewer than one window. */
  public TimeWindows {
    if (count < 1 || count > 1000) {
      throw new IllegalArgumentException(
          "got " + count + " time windows; want 1 to 1000 (4 is usual)");
    }
  }

  /**
   * The window that t lies in.
   *
   * @throws IllegalArgumentException unless 1e-4 &lt; t ≤ 1 (within 1e-4)
   */
  public Window at(double t) {
    if (!(t > TOLERANCE && t <= 1 + TOLERANCE)) {
      throw new IllegalArgumentException(
          "no time window holds t = " + t + "; want 0.0001 < t <= 1 (1 is noise)");
    }
    int k = (int) Math.ceil(count * (t - TOLERANCE));
    return window(Math.min(Math.max(k, 1), count));
  }

  /** Window k, 1 (cleanest) ... K (noisiest). */
  public Window window(int k) {
    if (k < 1 || k > count) {
      throw new IllegalArgumentException("no window " + k + "; there are 1 to " + count);
    }
    return new Window(k, count);
  }

  /** All of them in the order of sampling, noisiest first. */
  public List<Window> noisyToClean() {
    return IntStream.range(0, count).mapToObj(i -> window(count - i)).toList();
  }
}
