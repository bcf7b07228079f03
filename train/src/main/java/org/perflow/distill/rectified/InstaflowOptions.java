package org.perflow.distill.rectified;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.TeacherSolver;

/**
 * Settings of {@link InstaflowMethod}. Immutable, valid once made; JSON by these names.
 *
 * @param reflowPart part of the run that is reflow; the rest distils one step. 0 where the teacher
 *     is a rectified flow already
 * @param perceptual weight of the distance of features, beside the squared distance
 * @param guidance of the teacher in drawing its pictures
 * @param pairs how many pictures the teacher draws
 * @param solver of the teacher's ODE for them; null for the sampler of the teacher's own config
 * @param pairSteps steps of that sampler, evaluations of that solver
 * @param pairsFolder where they are kept; empty for the run's own folder
 */
@RecordBuilder
public record InstaflowOptions(
    double reflowPart,
    double perceptual,
    double guidance,
    int pairs,
    @Nullable TeacherSolver solver,
    int pairSteps,
    String pairsFolder)
    implements InstaflowOptionsBuilder.With {

  /** Half the run each. */
  public static final InstaflowOptions DEFAULTS =
      InstaflowOptionsBuilder.builder()
          .reflowPart(0.5)
          .perceptual(1)
          .guidance(3)
          .pairs(4096)
          .solver(null)
          .pairSteps(25)
          .pairsFolder("")
          .build();

  public InstaflowOptions {
    var unused =
        new TeacherPairs.Settings(pairs, solver, pairSteps, guidance, pairsFolder); // checks those
    if (!(reflowPart >= 0 && reflowPart < 1)) {
      throw new IllegalArgumentException(
          "reflowPart is a part of the run, 0 to below 1; got " + reflowPart);
    }
    if (!(perceptual >= 0)) {
      throw new IllegalArgumentException("perceptual must be 0 (none) or more; got " + perceptual);
    }
  }

  TeacherPairs.Settings pairSettings() {
    return new TeacherPairs.Settings(pairs, solver, pairSteps, guidance, pairsFolder);
  }
}
