package org.perflow.tensor.nn;

import org.jspecify.annotations.Nullable;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter.Init;

/** x Wᵀ + b over the last dimension. Keys: {@code weight} [out, in], {@code bias} [out]. */
public final class Linear extends Module {
  private final Parameter weight;
  private final @Nullable Parameter bias;

  public Linear(int in, int out) {
    this(in, out, true);
  }

  public Linear(int in, int out, boolean bias) {
    this(in, out, bias, Init.fanIn(in));
  }

  public Linear(int in, int out, boolean bias, Init init) {
    this.weight = parameter("weight", init, out, in);
    this.bias = bias ? parameter("bias", Init.constant(0), out) : null;
  }

  /** x [..., in] to [..., out]. */
  public Tensor forward(Tensor x) {
    return Functional.linear(x, weight.value(), bias == null ? null : bias.value());
  }
}
