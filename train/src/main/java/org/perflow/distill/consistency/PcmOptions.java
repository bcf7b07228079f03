package org.perflow.distill.consistency;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.perflow.distill.Checks;
import org.perflow.distill.Distance;
import org.perflow.distill.consistency.ConsistencyObjective.Settings;
import org.perflow.flow.TeacherSolver;

/**
 * Settings of {@link PcmMethod}. Immutable, valid once made.
 *
 * @param phases K, equal phases of time, each with a consistency function of its own
 * @param gridSteps N, teacher steps from noise to data; a multiple of the phases
 * @param solver of the teacher's ODE in each of these steps
 * @param solvingSteps evaluations of the teacher in each
 * @param guidance scale of the teacher's guidance; 1 for none, then the student is guided in
 *     drawing
 * @param captionDropout part of the captions replaced by the empty one
 * @param targetDecay of the averaged network that targets come from; 0 for the student itself
 * @param distance of the two predictions
 * @param huberC c of the pseudo-Huber distance
 */
@RecordBuilder
public record PcmOptions(
    int phases,
    int gridSteps,
    TeacherSolver solver,
    int solvingSteps,
    double guidance,
    double captionDropout,
    double targetDecay,
    Distance distance,
    double huberC)
    implements PcmOptionsBuilder.With {
  /**
   * Four phases of ten teacher steps, as 50 in all would miss the edges; no average for the
   * targets, which made no difference on the ring of Gaussians.
   */
  public static final PcmOptions DEFAULTS =
      PcmOptionsBuilder.builder()
          .phases(4)
          .gridSteps(40)
          .solver(TeacherSolver.DDIM)
          .solvingSteps(1)
          .guidance(3)
          .captionDropout(0.1)
          .targetDecay(0)
          .distance(Distance.PSEUDO_HUBER)
          .huberC(1e-3)
          .build();

  public PcmOptions {
    Checks.that(
        phases > 0 && gridSteps % phases == 0 && gridSteps > phases,
        "gridSteps must be a multiple of the phases, 2 in each or more; got %d for %d"
            .formatted(gridSteps, phases));
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
