package org.perflow.tensor.nn;

import org.perflow.tensor.Functional;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter.Init;

/** A table of vectors. Key: {@code weight} [rows, width]. */
public final class Embedding extends Module {
  private final Parameter weight;

  public Embedding(int rows, int width, double deviation) {
    this.weight = parameter("weight", Init.normal(deviation), rows, width);
  }

  /** index (int64) [...] to [..., width]. */
  public Tensor forward(Tensor index) {
    return Functional.embedding(weight.value(), index);
  }
}
