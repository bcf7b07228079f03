package org.perflow.tensor;

import java.util.Arrays;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;

/**
 * What libtorch lacks on {@link Device#META}: convolutions and norms, whose shapes and gradients
 * are made of what it has, and a refusal of tensors of two devices by operations other than
 * elementwise ones. Elsewhere libtorch has all of it.
 */
final class Meta {
  private Meta() {}

  /**
   * Refuses tensors of which one has values and another has none.
   *
   * @throws IllegalArgumentException naming both devices
   */
  static void together(Tensor one, Tensor other) {
    if (one.is_meta() != other.is_meta()) {
      throw new IllegalArgumentException(
          "tensors of two devices: one is on %s, the other on %s"
              .formatted(Device.of(one), Device.of(other)));
    }
  }

  /** What stands for an elementwise operation that, or whose gradient, is not there. */
  static Tensor elementwise(Tensor x) {
    return x.neg();
  }

  /** One of the two, broadcast. */
  static Tensor where(Tensor condition, Tensor a, Tensor b) {
    together(condition, a);
    together(condition, b);
    Tensor chosen = condition.to(a.scalar_type());
    return a.mul(chosen).add(b.mul(chosen));
  }

  /** As many rows of one dimension as {@code index} [n] names. */
  static Tensor indexSelect(Tensor x, int dim, Tensor index) {
    together(x, index);
    long[] shape = new long[(int) x.dim()];
    Arrays.fill(shape, -1);
    shape[Math.floorMod(dim, shape.length)] = index.numel();
    return x.narrow(dim, 0, 1).expand(shape).contiguous();
  }

  /** Over the last dimension of [..., n], without scale and shift. */
  static Tensor normalised(Tensor x, double eps) {
    long[] last = {-1};
    Tensor centred = x.sub(x.mean(last, true, new ScalarTypeOptional()));
    Tensor variance = centred.square().mean(last, true, new ScalarTypeOptional());
    return centred.mul(variance.add(new Scalar(eps)).rsqrt());
  }

  /** Of x [B, C, ...]. */
  static Tensor groupNorm(Tensor x, long groups, Tensor weight, Tensor bias, double eps) {
    long[] shape = new long[(int) x.dim()];
    long[] channels = new long[(int) x.dim()];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = x.size(i);
      channels[i] = i == 1 ? x.size(1) : 1;
    }
    Tensor y = normalised(x.reshape(shape[0], groups, -1), eps).reshape(shape);
    return y.mul(weight.reshape(channels)).add(bias.reshape(channels));
  }

  /** Of x [B, C, H, W]: of the right shape, with gradients of the right shapes. */
  static Tensor convolution(
      Tensor x, Tensor weight, TensorOptional bias, long stride, long padding) {
    Tensor corners = torch.pad(x, padding, padding, padding, padding); // of each window
    for (int dim = 2; dim < 4; dim++) {
      long end = corners.size(dim) - weight.size(dim) + 1;
      corners = corners.slice(dim, new LongOptional(0), new LongOptional(end), stride);
    }
    Tensor filters = weight.sum(new long[] {2, 3}, false, new ScalarTypeOptional());
    return torch.linear(corners.permute(0, 2, 3, 1), filters, bias).permute(0, 3, 1, 2);
  }
}
