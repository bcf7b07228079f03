package org.perflow.distill.progressive;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.perflow.flow.TeacherSolver;

/**
 * Settings of {@link ProgressiveMethod}. Immutable, valid once made; JSON by these names.
 *
 * @param startSteps of the teacher's DDIM that the first stage halves
 * @param endSteps of the student when the last stage is done: startSteps halved a few times
 * @param solver of the teacher's ODE over one step of the first stage's student; later teachers are
 *     students, which know DDIM alone
 * @param solvingSteps evaluations of the teacher there; 2 are the two steps that are halved
 * @param guidance of the teacher in the first stage, after which it is in the student's weights; 1
 *     = none
 */
@RecordBuilder
public record ProgressiveOptions(
    int startSteps, int endSteps, TeacherSolver solver, int solvingSteps, double guidance)
    implements ProgressiveOptionsBuilder.With {
  /** The guided teacher's 32 steps to 4. */
  public static final ProgressiveOptions DEFAULTS =
      ProgressiveOptionsBuilder.builder()
          .startSteps(32)
          .endSteps(4)
          .solver(TeacherSolver.DDIM)
          .solvingSteps(2)
          .guidance(3)
          .build();

  public ProgressiveOptions {
    int ratio = endSteps < 1 ? 0 : startSteps / endSteps;
    if (ratio < 2 || ratio * endSteps != startSteps || Integer.bitCount(ratio) != 1) {
      throw new IllegalArgumentException(
          "startSteps must be endSteps times 2, 4, 8, ...; got " + startSteps + " and " + endSteps);
    }
    solver.steps(solvingSteps); // refuses what makes no whole number of steps
    if (!(guidance >= 1)) {
      throw new IllegalArgumentException("guidance must be 1 (none) or more; got " + guidance);
    }
  }

  /** How many times the number of steps is halved. */
  public int stages() {
    return Integer.numberOfTrailingZeros(startSteps / endSteps);
  }

  /** Steps of the student of stage 0, 1, ... */
  public int studentSteps(int stage) {
    return startSteps >> (stage + 1);
  }
}
