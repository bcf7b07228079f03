package org.perflow.tensor.nn;

import org.perflow.tensor.Functional;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter.Init;

/** Group normalisation. Keys: {@code weight} [C], {@code bias} [C]. */
public final class GroupNorm extends Module {
  private final Parameter weight;
  private final Parameter bias;
  private final int groups;
  private final double eps;

  public GroupNorm(int groups, int channels, double eps) {
    if (channels % groups != 0) {
      throw new IllegalArgumentException(
          "norm_num_groups " + groups + " does not divide " + channels + " channels");
    }
    this.weight = parameter("weight", Init.constant(1), channels);
    this.bias = parameter("bias", Init.constant(0), channels);
    this.groups = groups;
    this.eps = eps;
  }

  /** x [B, C, ...], same shape out. */
  public Tensor forward(Tensor x) {
    return Functional.groupNorm(x, groups, weight.value(), bias.value(), eps);
  }

  /** The same and x · sigmoid(x) after it. */
  public Tensor forwardSilu(Tensor x) {
    return Functional.groupNormSilu(x, groups, weight.value(), bias.value(), eps);
  }
}
