package org.perflow.tensor;

import org.jspecify.annotations.Nullable;

/**
 * The weight of a convolution in the order in which oneDNN reads it for maps of one height and
 * width. libtorch reorders filters in every call, which takes up to half of the time where maps are
 * small and channels many. Immutable, thread-safe; owns its native memory until the last user has
 * {@link #close closed} it.
 */
public final class PackedFilters implements AutoCloseable {
  private final Tensor reordered;
  private final long height;
  private final long width;
  private final int stride;
  private final int padding;

  private PackedFilters(Tensor reordered, long height, long width, int stride, int padding) {
    this.reordered = reordered;
    this.height = height;
    this.width = width;
    this.stride = stride;
    this.padding = padding;
  }

  /**
   * Whether maps such as {@code x}, without gradients, on this processor, are worth it.
   *
   * @param weight its shape, [out, in, k, k]
   */
  public static boolean suit(Tensor x, DType weights, long[] weight) {
    return x.dim() == 4
        && x.dtype() == weights
        && OneDnn.takes(x.raw)
        && !OneDnn.dividesByZero(weight);
  }

  /** {@code weight} [out, in, k, k] for maps of the size of {@code x} [B, in, H, W]. */
  public static PackedFilters of(Tensor weight, Tensor x, int stride, int padding) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor reordered =
          new Tensor(
              OneDnn.reordered(weight.contiguous().raw, stride, padding, x.size(2), x.size(3)));
      return new PackedFilters(scope.release(reordered), x.size(2), x.size(3), stride, padding);
    }
  }

  /** Whether they were made for maps of this size; for others they would be slow. */
  public boolean fit(Tensor x) {
    return x.size(2) == height && x.size(3) == width;
  }

  /** x [B, in, H, W] to [B, out, H', W'], owned by the caller's scope. */
  public Tensor convolve(Tensor x, @Nullable Tensor bias) {
    if (x.size(1) != reordered.size(1)) {
      throw new IllegalArgumentException(
          "conv2d: input " + x + ", expected [B, " + reordered.size(1) + ", H, W]");
    }
    Tensor y =
        new Tensor(
            OneDnn.convolution(
                x.raw,
                reordered.raw,
                bias == null ? null : bias.to(x.dtype()).raw,
                stride,
                padding));
    Flops.products(y.numel(), reordered.size(1) * reordered.size(2) * reordered.size(3));
    return y;
  }

  /** The weight as it was, bit for bit, owned by the caller's scope. */
  public Tensor plain() {
    return new Tensor(reordered.raw.to_dense());
  }

  /** One more user, who closes them, too. */
  public PackedFilters shared() {
    reordered.raw.retainReference();
    return this;
  }

  @Override
  public void close() {
    reordered.close();
  }
}
