package org.perflow.distill.consistency;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.perflow.distill.Checks;
import org.perflow.distill.Distance;
import org.perflow.distill.consistency.ConsistencyObjective.Settings;
import org.perflow.flow.TeacherSolver;

/**
 * Settings of {@link TcdMethod}. Immutable, valid once made.
 *
 * @param gridSteps N, teacher steps from noise to data
 * @param solver of the teacher's ODE in each of these steps
 * @param solvingSteps evaluations of the teacher in each
 * @param guidance scale of the teacher's guidance; 1 for none, then the student is guided in
 *     drawing
 * @param eta how much of each step's noise is drawn anew in drawing, γ of the paper: 0 none, 1 as
 *     LCM
 * @param captionDropout part of the captions replaced by the empty one
 * @param targetDecay of the averaged network that targets come from; 0 for the student itself
 * @param distance of the two predictions
 * @param huberC c of the pseudo-Huber distance
 */
@RecordBuilder
public record TcdOptions(
    int gridSteps,
    TeacherSolver solver,
    int solvingSteps,
    double guidance,
    double eta,
    double captionDropout,
    double targetDecay,
    Distance distance,
    double huberC)
    implements TcdOptionsBuilder.With {
  /**
   * The paper's but for the guidance, which is for Stable Diffusion there, and for η: on the ring
   * of Gaussians 0 was no worse than 0.3, it keeps the teacher's picture of a noise, and it is what
   * diffusers' pipelines draw with.
   */
  public static final TcdOptions DEFAULTS =
      TcdOptionsBuilder.builder()
          .gridSteps(50)
          .solver(TeacherSolver.DDIM)
          .solvingSteps(1)
          .guidance(3)
          .eta(0)
          .captionDropout(0.1)
          .targetDecay(0.95)
          .distance(Distance.PSEUDO_HUBER)
          .huberC(1e-3)
          .build();

  public TcdOptions {
    Checks.that(eta >= 0 && eta <= 1, "eta lies between 0 and 1; got " + eta);
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

  Settings settings() {
    return new Settings(
        gridSteps, solver, solvingSteps, guidance, captionDropout, targetDecay, distance, huberC);
  }
}
