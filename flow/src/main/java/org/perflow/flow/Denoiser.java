package org.perflow.flow;

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
}
