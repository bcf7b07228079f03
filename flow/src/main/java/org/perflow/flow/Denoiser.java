package org.perflow.flow;

import java.util.function.BinaryOperator;
import org.perflow.tensor.Tensor;

/**
 * A network with its conditioning bound: all that solvers and samplers need to know. The result
 * belongs to the caller's scope; gradients are recorded as the calling thread says.
 */
@FunctionalInterface
public interface Denoiser {
  /**
   * The network's output.
   *
   * @param z [B, C, h, w]
   * @param timesteps float32 [B]: index 0 ... 999 for a teacher, 1000 t for a student
   * @return [B, C, h, w]
   */
  Tensor predict(Tensor z, Tensor timesteps);

  /** Guidance of a network that is told the negative rows, then the positive ones. */
  static Denoiser guided(Denoiser both, double scale) {
    return halves(both, (none, conditional) -> Guidance.guide(none, conditional, scale));
  }

  /** The same where each row has a scale of its own: {@code scales} [B]. */
  static Denoiser guided(Denoiser both, Tensor scales) {
    Tensor each = scales.asRows(4);
    return halves(both, (none, conditional) -> none.add(conditional.sub(none).mul(each)));
  }

  private static Denoiser halves(Denoiser both, BinaryOperator<Tensor> combined) {
    return (z, timesteps) -> {
      Tensor output = both.predict(Tensor.cat(0, z, z), Tensor.cat(0, timesteps, timesteps));
      long rows = z.size(0);
      return combined.apply(output.narrow(0, 0, rows), output.narrow(0, rows, rows));
    };
  }
}
