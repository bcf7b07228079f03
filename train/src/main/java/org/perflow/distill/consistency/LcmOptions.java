package org.perflow.distill.consistency;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.perflow.distill.Checks;
import org.perflow.distill.Distance;
import org.perflow.distill.consistency.ConsistencyObjective.Settings;
import org.perflow.flow.TeacherSolver;

/**
 * Settings of {@link LcmMethod}. Guidance is in diffusers' convention of the scale, which is the
 * paper's w plus 1. Immutable, valid once made.
 *
 * @param gridSteps N, teacher steps from noise to data
 * @param solver of the teacher's ODE in each of these steps
 * @param solvingSteps evaluations of the teacher in each
 * @param guidanceMin least scale that the student learns and is told; 0 with {@code guidanceMax} 0
 *     for a student that is told none
 * @param guidanceMax largest
 * @param guidance scale that it is drawn with where nothing is chosen; of a student that is told
 *     none, the teacher's in training
 * @param captionDropout part of the captions replaced by the empty one
 * @param targetDecay of the averaged network that targets come from; 0 for the student itself
 * @param distance of the two predictions
 * @param huberC c of the pseudo-Huber distance
 */
@RecordBuilder
public record LcmOptions(
    int gridSteps,
    TeacherSolver solver,
    int solvingSteps,
    double guidanceMin,
    double guidanceMax,
    double guidance,
    double captionDropout,
    double targetDecay,
    Distance distance,
    double huberC)
    implements LcmOptionsBuilder.With {
  /** The paper's but for the guidance, whose w from 5 to 15 is for Stable Diffusion. */
  public static final LcmOptions DEFAULTS =
      LcmOptionsBuilder.builder()
          .gridSteps(50)
          .solver(TeacherSolver.DDIM)
          .solvingSteps(1)
          .guidanceMin(2)
          .guidanceMax(6)
          .guidance(3)
          .captionDropout(0.1)
          .targetDecay(0.95)
          .distance(Distance.PSEUDO_HUBER)
          .huberC(1e-3)
          .build();

  /** Of LCM-LoRA (Luo et al., arXiv 2311.05556): one guidance, targets from the student itself. */
  public static final LcmOptions LORA =
      DEFAULTS.with(o -> o.guidanceMin(0).guidanceMax(0).targetDecay(0));

  public LcmOptions {
    Checks.that(
        guidanceMin == 0 && guidanceMax == 0 || guidanceMin >= 1 && guidanceMin < guidanceMax,
        "guidanceMin and guidanceMax must both be 0, or 1 or more and the second larger; got %s and %s"
            .formatted(guidanceMin, guidanceMax));
    var unused =
        new Settings(
            gridSteps,
            solver,
            solvingSteps,
            guidance,
            captionDropout,
            targetDecay,
            distance,
            huberC); // checks the rest
  }

  /** Whether the student embeds its guidance. */
  boolean told() {
    return guidanceMax > 0;
  }

  Settings settings() {
    if (!told()) {
      return new Settings(
          gridSteps, solver, solvingSteps, guidance, captionDropout, targetDecay, distance, huberC);
    }
    return new Settings(
        gridSteps,
        solver,
        solvingSteps,
        guidanceMin,
        guidanceMax,
        true,
        captionDropout,
        targetDecay,
        distance,
        huberC);
  }
}
