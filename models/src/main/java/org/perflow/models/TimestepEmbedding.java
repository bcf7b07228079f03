package org.perflow.models;

import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;

/**
 * Two linear layers that turn a vector of waves into what the resnets add. Keys: {@code linear_1},
 * {@code linear_2} and, of a network that embeds one more number, {@code cond_proj}.
 */
final class TimestepEmbedding extends Module {
  private final Linear linear1;
  private final Linear linear2;
  private final @Nullable CondProj condProj;

  /** Without a bias, and zero at first: a network that gets one goes on as it was. */
  private static final class CondProj extends Module {
    private final Parameter weight;

    CondProj(int in, int out) {
      weight = parameter("weight", Parameter.Init.constant(0), out, in);
    }

    Tensor forward(Tensor x) {
      return x.matmul(weight.value().to(x.dtype()).transpose(0, 1));
    }
  }

  TimestepEmbedding(int in, int out) {
    this(in, out, 0);
  }

  /**
   * @param cond width of the waves of one more number; 0 for none
   */
  TimestepEmbedding(int in, int out, int cond) {
    linear1 = child("linear_1", new Linear(in, out));
    condProj = cond == 0 ? null : child("cond_proj", new CondProj(cond, in));
    linear2 = child("linear_2", new Linear(out, out));
  }

  /** The same, with {@code number} [B] embedded at the input as LCM does its guidance. */
  Tensor forward(Tensor waves, Tensor number, int width) {
    Tensor more = guidanceWaves(number, width).to(waves.dtype());
    return forward(waves.add(Objects.requireNonNull(condProj).forward(more)));
  }

  /**
   * Waves of a guidance weight (Luo et al., arXiv 2310.04378, section 4.2, as diffusers has them):
   * sines, then cosines of 1000 w. [B] to [B, width], float32.
   */
  static Tensor guidanceWaves(Tensor number, int width) {
    return sinusoids(number.to(DType.F32).mul(1000), width, false, 1);
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
    Tensor frequency = exponent.exp().to(values.device());
    Tensor angle = values.to(DType.F32).unsqueeze(1).mul(frequency); // [N, half]
    Tensor waves =
        flipSinToCos
            ? Tensor.cat(1, angle.cos(), angle.sin())
            : Tensor.cat(1, angle.sin(), angle.cos());
    return width % 2 == 0 ? waves : Functional.pad(waves, 0, 1, 0, 0);
  }
}
