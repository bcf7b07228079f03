package org.perflow.distill.matching;

import org.perflow.distill.Task;
import org.perflow.flow.Denoiser;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Moves what a student draws to where the teacher finds it likelier than its own fake score does:
 * the gradient of KL(student ‖ teacher), averaged over noise levels.
 */
record ScoreMatching(NoiseSchedule schedule, PredictionType prediction, Weight weight) {
  /** How the difference of the scores is weighted. */
  enum Weight {
    /**
     * (μ_fake − μ_real) / mean |x − μ_real| on predicted data: DMD (Yin et al. 2023, arXiv
     * 2311.18828, eq. 7 and 8).
     */
    NORMALISED,
    /** σ² (ε_real − ε_fake): SwiftBrush (Nguyen and Tran 2023, arXiv 2312.05239, eq. 5). */
    VARIANCE
  }

  // Levels without the ends, where scores are unreliable (DMD) or say nothing.
  private static final double FROM = 0.02;
  private static final double TO = 0.98;

  static ScoreMatching of(Task task, Weight weight) {
    return new ScoreMatching(task.teacher().schedule(), task.teacher().prediction(), weight);
  }

  /**
   * A loss whose gradient by {@code x} [B, ...] is {@link #gradient} over the number of elements.
   */
  Tensor loss(Tensor x, Denoiser real, Denoiser fake, Rng rng) {
    int rows = (int) x.size(0);
    Levels levels = Levels.drawn(schedule, prediction, FROM, TO, rows, rng);
    Tensor noise = Tensor.randnLike(rng, x);
    Tensor wanted;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      wanted = scope.keep(x.sub(gradient(x, real, fake, levels, noise)));
    }
    return x.sub(wanted).square().mean().mul(0.5);
  }

  /** The direction that is away from the teacher's distribution, [B, ...]. */
  Tensor gradient(Tensor x, Denoiser real, Denoiser fake, Levels levels, Tensor noise) {
    Tensor z = levels.noised(x, noise);
    if (weight == Weight.VARIANCE) {
      Tensor difference = levels.noise(real, z).sub(levels.noise(fake, z));
      return levels.weighted(difference, i -> levels.sigma(i) * levels.sigma(i));
    }
    Tensor likely = levels.data(real, z);
    Tensor size = x.sub(likely).abs().reshape(x.size(0), -1).mean(1); // [B]
    Tensor scale = size.clamp(1e-6, Double.POSITIVE_INFINITY).asRows(4);
    return levels.data(fake, z).sub(likely).div(scale);
  }
}
