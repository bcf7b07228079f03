package org.perflow.tensor.nn;

import org.perflow.tensor.Functional;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter.Init;

/** Layer normalisation over the last dimension. Keys: {@code weight} [C], {@code bias} [C]. */
public final class LayerNorm extends Module {
  private final Parameter weight;
  private final Parameter bias;
  private final double eps;

  public LayerNorm(int width, double eps) {
    this.weight = parameter("weight", Init.constant(1), width);
    this.bias = parameter("bias", Init.constant(0), width);
    this.eps = eps;
  }

  /** x [..., C], same shape out. */
  public Tensor forward(Tensor x) {
    return Functional.layerNorm(x, weight.value(), bias.value(), eps);
  }
}
