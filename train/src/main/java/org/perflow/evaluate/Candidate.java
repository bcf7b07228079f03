package org.perflow.evaluate;

import java.util.List;
import java.util.Optional;
import org.perflow.evaluate.Straightness.Trajectory;
import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;

/**
 * A way of drawing pictures that an {@link Evaluation} measures. {@link SampledModel} is the one of
 * diffusion models; implement this for any other. Called by one thread, with grad off; the tensors
 * it returns belong to the caller's scope.
 */
public interface Candidate {
  /** Names model and sampler, without the steps: candidates that differ in steps alone share it. */
  String label();

  /** Sampling steps. */
  int steps();

  /** Network evaluations of one picture; guidance counts twice. */
  int networkEvaluations();

  /** Draws a batch: for equal seeds from equal noise, whatever the batch. */
  Drawn draw(List<Case> cases, DType compute);

  /** What was drawn on the way, in {@code steps} steps; empty where states lie on no path. */
  default Optional<Trajectories> trajectories(List<Case> cases, int steps, DType compute) {
    return Optional.empty();
  }

  /** Changes with everything that its pictures depend on; empty where nothing may be cached. */
  default Optional<String> fingerprint() {
    return Optional.empty();
  }

  /** Label and steps, as tables and grids name it. */
  default String title() {
    return label() + ", " + steps() + (steps() == 1 ? " step" : " steps");
  }

  /**
   * A batch.
   *
   * @param latents [B, C, h, w], float32
   * @param pictures [B, 3, H, W] in [-1, 1]
   * @param seconds that sampling took, without text encoder and decoder
   * @param decodeSeconds that decoding took
   */
  record Drawn(Tensor latents, Tensor pictures, double seconds, double decodeSeconds) {}

  /** From noise to data: latents against time, and as {@link Straightness#rectified}. */
  record Trajectories(Trajectory inTime, Trajectory rectified) {}
}
