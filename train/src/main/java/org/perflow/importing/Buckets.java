package org.perflow.importing;

import java.util.Comparator;
import java.util.List;
import java.util.TreeSet;

/**
 * Sizes of pictures for training at several shapes: as many pixels as a square of {@code base} has,
 * or a little fewer, with sides between half and twice the base (Podell et al., arXiv 2307.01952,
 * appendix I). The sizes are those that trainers of SDXL make: for each width the greatest height,
 * and each lying and standing.
 */
final class Buckets {
  private final List<Size> sizes;

  /** A width and a height in pixels. */
  record Size(int width, int height) {
    double logRatio() {
      return Math.log((double) width / height);
    }

    @Override
    public String toString() {
      return width + "x" + height;
    }
  }

  private Buckets(List<Size> sizes) {
    this.sizes = sizes;
  }

  static Buckets of(int base, int step) {
    require(base, step);
    var found =
        new TreeSet<Size>(Comparator.comparingInt(Size::width).thenComparingInt(Size::height));
    int least = base / 2;
    int most = 2 * base;
    for (int width = least; width <= most; width += step) {
      int height = Math.min(most, base * base / width / step * step);
      if (height >= least) {
        found.add(new Size(width, height));
        found.add(new Size(height, width));
      }
    }
    return new Buckets(List.copyOf(found));
  }

  /**
   * Says what a base and a step must be.
   *
   * @throws IllegalArgumentException where they are not
   */
  static void require(int base, int step) {
    if (step < 8 || step % 8 != 0) {
      throw new IllegalArgumentException(
          "bucketStep must be a multiple of 8, 8 or more; got " + step);
    }
    if (base < 2 * step || base % (2 * step) != 0 || base > 4096) {
      throw new IllegalArgumentException(
          "buckets must be a multiple of twice the bucketStep (%d) up to 4096; got %d"
              .formatted(2 * step, base));
    }
  }

  /** From the narrowest to the widest. */
  List<Size> sizes() {
    return sizes;
  }

  /** The one whose shape is nearest to that of a picture. */
  Size nearest(int width, int height) {
    double ratio = new Size(width, height).logRatio();
    return sizes.stream()
        .min(Comparator.comparingDouble(size -> Math.abs(size.logRatio() - ratio)))
        .orElseThrow();
  }
}
