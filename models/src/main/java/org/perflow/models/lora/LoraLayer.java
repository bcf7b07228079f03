package org.perflow.models.lora;

import java.util.Arrays;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * The change of one weight: W + α/r · up · down, where a convolution's weight [out, in, k, k] is
 * taken as the matrix [out, in·k·k]. Whoever made the tensors owns them.
 *
 * @param part whose weight: {@code unet}, {@code text_encoder} or {@code text_encoder_2}
 * @param module the published name of the linear layer or convolution, or that name with
 *     underscores for dots, which is all that kohya's files say
 * @param down [r, in] or [r, in, k, k]
 * @param up [out, r] or [out, r, 1, 1]
 * @param alpha α; equal to r where a file says nothing
 */
public record LoraLayer(String part, String module, Tensor down, Tensor up, double alpha) {

  /** r. */
  public long rank() {
    return down.size(0);
  }

  /** α/r. */
  public double scale() {
    return alpha / rank();
  }

  /** Whether up · down has the sizes of a weight of that shape. */
  public boolean fits(long... weight) {
    long columns = Arrays.stream(weight).skip(1).reduce(1, (a, b) -> a * b);
    return weight.length >= 2
        && up.size(0) == weight[0]
        && up.numel() == weight[0] * rank()
        && down.numel() == rank() * columns;
  }

  /** On that device; the tensors belong to the caller's scope where they are moved. */
  public LoraLayer to(Device device) {
    return new LoraLayer(part, module, down.to(device), up.to(device), alpha);
  }

  /** W + α/r · up · down, owned by the caller's scope; differentiable. */
  Tensor changed(Tensor stored) {
    try (Scope scope = Scope.open()) { // of the two as large as W only the sum stays
      return scope.keep(stored.add(change(stored.shape())));
    }
  }

  /**
   * α/r · up · down in the shape of a weight, float32, owned by the caller's scope; differentiable.
   */
  public Tensor change(long... weight) {
    Tensor left = up.to(DType.F32).reshape(up.size(0), rank()); // [out, r]
    Tensor right = down.to(DType.F32).reshape(rank(), -1); // [r, in·k·k]
    return left.mul(scale()).matmul(right).reshape(weight);
  }
}
