package org.perflow.tensor;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * The network operations of {@code torch.nn.functional}, stateless and thread-safe. Weights are
 * cast to the input's element type where they differ, so that fp32 master weights compute in
 * bfloat16 and receive fp32 gradients.
 */
public final class Functional {
  private static final boolean AMX = Processor.has("amx_bf16");

  private Functional() {}

  /** x Wᵀ + b; x [..., in], weight [out, in]. */
  public static Tensor linear(Tensor x, Tensor weight, @Nullable Tensor bias) {
    Flops.products(x.numel() / weight.size(1) * weight.size(0), weight.size(1));
    Meta.together(x.raw, weight.raw);
    if (OneDnn.multiplies(x.raw, weight.raw)) {
      return new Tensor(
          OneDnn.linear(x.raw, weight.raw, bias == null ? null : bias.to(x.dtype()).raw));
    }
    return new Tensor(torch.linear(x.raw, weight.to(x.dtype()).raw, optional(bias, x.dtype())));
  }

  /** Convolution with equal stride and zero padding on both axes; x [B, C, H, W]. */
  public static Tensor conv2d(
      Tensor x, Tensor weight, @Nullable Tensor bias, int stride, int padding) {
    if (x.dim() != 4 || x.size(1) != weight.size(1)) {
      throw new IllegalArgumentException(
          "conv2d: input "
              + x
              + " does not fit weight "
              + Arrays.toString(weight.shape())
              + "; expected [B, "
              + weight.size(1)
              + ", H, W]");
    }
    if (stride == 1 && padding == 0 && OneDnn.dividesByZero(weight.shape())) {
      Tensor matrix = weight.reshape(weight.size(0), weight.size(1));
      return linear(x.permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2);
    }
    if (x.dtype() == DType.BF16 && weight.size(0) % 2 == 1) {
      return evenConvolution(x, weight, bias, stride, padding).narrow(1, 0, weight.size(0));
    }
    return convolution(x.raw, weight.to(x.dtype()).raw, optional(bias, x.dtype()), stride, padding);
  }

  /**
   * With one filter of zeros more: oneDNN (as in libtorch 2.10, on CPUs with AVX-512 BF16)
   * multiplies bfloat16 output channels in pairs, and where the last one has no partner the
   * gradient of the input is wrong, with whatever lies behind it in memory in it.
   */
  private static Tensor evenConvolution(
      Tensor x, Tensor weight, @Nullable Tensor bias, int stride, int padding) {
    var filters = torch.pad(weight.to(x.dtype()).raw, 0, 0, 0, 0, 0, 0, 0, 1);
    var shifts =
        bias == null
            ? new TensorOptional()
            : new TensorOptional(torch.pad(bias.to(x.dtype()).raw, 0, 1));
    return convolution(x.raw, filters, shifts, stride, padding);
  }

  private static Tensor convolution(
      org.bytedeco.pytorch.Tensor x,
      org.bytedeco.pytorch.Tensor weight,
      TensorOptional bias,
      long stride,
      long padding) {
    Meta.together(x, weight);
    if (x.is_meta()) {
      return new Tensor(Meta.convolution(x, weight, bias, stride, padding));
    }
    long[] once = {1, 1};
    long[] strides = {stride, stride};
    long[] paddings = {padding, padding};
    Tensor y = new Tensor(torch.conv2d(x, weight, bias, strides, paddings, once, 1));
    Flops.products(y.numel(), weight.size(1) * weight.size(2) * weight.size(3));
    return y;
  }

  /** Normalises {@code groups} groups of channels of x [B, C, ...]. */
  public static Tensor groupNorm(Tensor x, int groups, Tensor weight, Tensor bias, double eps) {
    Meta.together(x.raw, weight.raw);
    DType type = x.dtype();
    if (x.raw.is_meta()) {
      return new Tensor(Meta.groupNorm(x.raw, groups, weight.to(type).raw, bias.to(type).raw, eps));
    }
    return new Tensor(
        torch.group_norm(x.raw, groups, optional(weight, type), optional(bias, type), eps, false));
  }

  /** {@link #silu} of {@link #groupNorm}. */
  public static Tensor groupNormSilu(Tensor x, int groups, Tensor weight, Tensor bias, double eps) {
    Tensor y = groupNorm(x, groups, weight, bias, eps);
    return GradMode.is_enabled() ? silu(y) : new Tensor(torch.silu_(y.raw));
  }

  /**
   * a + b, written over a while no gradients are recorded: maps are large, and fresh memory costs
   * as much as the sum. For an {@code a} that nobody else reads.
   */
  public static Tensor sum(Tensor a, Tensor b) {
    return GradMode.is_enabled() ? a.add(b) : a.addInPlace(b);
  }

  /** Normalises the last dimension. */
  public static Tensor layerNorm(Tensor x, Tensor weight, Tensor bias, double eps) {
    Meta.together(x.raw, weight.raw);
    if (x.raw.is_meta()) {
      return new Tensor(Meta.normalised(x.raw, eps))
          .mul(weight.to(x.dtype()))
          .add(bias.to(x.dtype()));
    }
    return new Tensor(
        torch.layer_norm(
            x.raw,
            weight.shape(),
            optional(weight, x.dtype()),
            optional(bias, x.dtype()),
            eps,
            false));
  }

  /** Rows of {@code weight} [rows, width] that {@code index} (int64) names. */
  public static Tensor embedding(Tensor weight, Tensor index) {
    if (weight.raw.is_meta()) {
      long[] shape = Arrays.copyOf(index.shape(), index.dim() + 1);
      shape[index.dim()] = weight.size(1);
      return weight.indexSelect(0, index.reshape(-1)).reshape(shape);
    }
    return new Tensor(torch.embedding(weight.raw, index.raw));
  }

  /**
   * softmax(q kᵀ / √d) v; q [B, heads, Lq, d], k and v [B, heads, Lk, d]. Short sequences multiply
   * matrices, which trains a third faster on a CPU than the fused kernel; long ones (Lq × Lk over
   * 2¹⁶), and all on other devices, take the fused kernel, whose memory does not grow with Lq × Lk.
   * On a CPU it multiplies bfloat16 by AMX or else number by number, so that processors without AMX
   * have it compute in float32.
   */
  public static Tensor attention(Tensor q, Tensor k, Tensor v, boolean causal) {
    Meta.together(q.raw, k.raw);
    boolean small = q.device().isCpu() && !causal && q.size(-2) * k.size(-2) <= 1 << 16;
    if (q.device().isCpu() && !small && q.dtype() == DType.BF16 && !AMX) {
      return attention(q.to(DType.F32), k.to(DType.F32), v.to(DType.F32), causal).to(DType.BF16);
    }
    Flops.products(2 * q.numel() / q.size(-1) * k.size(-2), q.size(-1)); // q kᵀ and times v
    if (small || q.raw.is_meta()) {
      double scale = 1 / Math.sqrt((double) q.size(-1));
      return q.mul(scale).matmul(k.transpose(-2, -1)).softmax(-1).matmul(v);
    }
    return new Tensor(
        torch.scaled_dot_product_attention(
            q.raw, k.raw, v.raw, new TensorOptional(), 0.0, causal, new DoubleOptional(), false));
  }

  /** x · sigmoid(x). */
  public static Tensor silu(Tensor x) {
    return new Tensor(torch.silu(x.raw));
  }

  /** The exact (erf) Gaussian error linear unit. */
  public static Tensor gelu(Tensor x) {
    return new Tensor(torch.gelu(x.raw));
  }

  /** GEGLU (Shazeer 2020, arXiv 2002.05202): x [..., 2C] to a · gelu(b), [..., C]. */
  public static Tensor geglu(Tensor x) {
    List<Tensor> halves = x.chunk(2, -1);
    Tensor gate = gelu(halves.get(1));
    return GradMode.is_enabled()
        ? halves.get(0).mul(gate)
        : gate.mulInPlace(halves.get(0)); // the gate is nobody else's
  }

  /** x · sigmoid(1.702 x), OpenAI CLIP's activation. */
  public static Tensor quickGelu(Tensor x) {
    return x.mul(x.mul(1.702).sigmoid());
  }

  /** Every pixel of x [B, C, H, W] repeated to reach {@code height} × {@code width}. */
  public static Tensor upsampleNearest(Tensor x, long height, long width) {
    return new Tensor(
        torch.upsample_nearest2d(
            x.raw, new long[] {height, width}, new DoubleOptional(), new DoubleOptional()));
  }

  /** Zeros around x [B, C, H, W]. */
  public static Tensor pad(Tensor x, int left, int right, int top, int bottom) {
    return new Tensor(torch.pad(x.raw, left, right, top, bottom));
  }

  /** Mean over windows of {@code kernel} × {@code kernel}, not overlapping. */
  public static Tensor averagePool(Tensor x, int kernel) {
    return new Tensor(torch.avg_pool2d(x.raw, kernel, kernel));
  }

  /** Eigenvalues, ascending, of a symmetric float64 matrix [n, n], and eigenvectors as columns. */
  public static Eigen symmetricEigen(Tensor matrix) {
    var result = torch.linalg_eigh(matrix.raw);
    return new Eigen(
        new Tensor(new org.bytedeco.pytorch.Tensor(result.get0())),
        new Tensor(new org.bytedeco.pytorch.Tensor(result.get1())));
  }

  /** Result of {@link #symmetricEigen}: values [n], vectors [n, n]. */
  public record Eigen(Tensor values, Tensor vectors) {}

  private static TensorOptional optional(@Nullable Tensor tensor, DType type) {
    return tensor == null ? new TensorOptional() : new TensorOptional(tensor.to(type).raw);
  }
}
