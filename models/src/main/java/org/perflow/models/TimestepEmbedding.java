package org.perflow.models;

import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;

/**
 * Two linear layers that turn a vector of waves into what the resnets add. Keys: {@code linear_1},
 * {@code linear_2}.
 */
final class TimestepEmbedding extends Module {
  private final Linear linear1;
  private final Linear linear2;

  TimestepEmbedding(int in, int out) {
    linear1 = child("linear_1", new Linear(in, out));
    linear2 = child("linear_2", new Linear(out, out));
  }

  /** [B, in] to [B, out]. */
  Tensor forward(Tensor waves) {
    return linear2.forward(Functional.silu(linear1.forward(waves)));
  }

  /**
   * Sinusoidal embedding (Ho et al., arXiv 2006.11239), float32 whatever the model computes in:
   * bfloat16 could not tell 999 from 1000. values [N] to [N, width].
   */
  static Tensor sinusoids(Tensor values, int width, boolean flipSinToCos, double freqShift) {
    int half = width / 2;
    Tensor exponent = Tensor.arange(half).to(DType.F32).mul(-Math.log(10000)).div(half - freqShift);
    Tensor angle = values.to(DType.F32).unsqueeze(1).mul(exponent.exp()); // [N, half]
    Tensor waves =
        flipSinToCos
            ? Tensor.cat(1, angle.cos(), angle.sin())
            : Tensor.cat(1, angle.sin(), angle.cos());
    return width % 2 == 0 ? waves : Functional.pad(waves, 0, 1, 0, 0);
  }
}
