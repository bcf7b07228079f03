package org.perflow.tensor.nn;

import org.jspecify.annotations.Nullable;
import org.perflow.tensor.Functional;
import org.perflow.tensor.PackedFilters;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter.Init;

/** Convolution. Keys: {@code weight} [out, in, k, k] and, where it has one, {@code bias} [out]. */
public final class Conv2d extends Module {
  private final Parameter weight;
  private final @Nullable Parameter bias;
  private final int stride;
  private final int padding;

  public Conv2d(int in, int out, int kernel, int stride, int padding) {
    this(in, out, kernel, stride, padding, true);
  }

  public Conv2d(int in, int out, int kernel, int stride, int padding, boolean bias) {
    this(in, out, kernel, stride, padding, bias, Init.fanIn((long) in * kernel * kernel));
  }

  public Conv2d(int in, int out, int kernel, int stride, int padding, Init init) {
    this(in, out, kernel, stride, padding, true, init);
  }

  private Conv2d(int in, int out, int kernel, int stride, int padding, boolean bias, Init init) {
    this.weight = parameter("weight", init, out, in, kernel, kernel);
    this.bias = bias ? parameter("bias", Init.constant(0), out) : null;
    this.stride = stride;
    this.padding = padding;
  }

  /** x [B, in, H, W] to [B, out, H', W']. */
  public Tensor forward(Tensor x) {
    Tensor shift = bias == null ? null : bias.value();
    try (PackedFilters filters = weight.packed(x, stride, padding)) {
      return filters == null
          ? Functional.conv2d(x, weight.value(), shift, stride, padding)
          : filters.convolve(x, shift);
    }
  }
}
