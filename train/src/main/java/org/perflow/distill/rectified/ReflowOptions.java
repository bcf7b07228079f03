package org.perflow.distill.rectified;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.TeacherSolver;

/**
 * Settings of {@link ReflowMethod}. Immutable, valid once made; JSON by these names.
 *
 * @param coupling what lies at the ends of the lines that are learned
 * @param guidance of the teacher in drawing its pictures; with {@link Coupling#DATA} the student is
 *     guided by it in sampling
 * @param pairs how many pictures the teacher draws
 * @param solver of the teacher's ODE for them; null for the sampler of the teacher's own config
 * @param pairSteps steps of that sampler, evaluations of that solver
 * @param pairsFolder where they are kept; empty for the run's own folder
 * @param captionDropout part of the captions replaced by the empty one
 */
@RecordBuilder
public record ReflowOptions(
    Coupling coupling,
    double guidance,
    int pairs,
    @Nullable TeacherSolver solver,
    int pairSteps,
    String pairsFolder,
    double captionDropout)
    implements ReflowOptionsBuilder.With {

  /** On pairs of the guided teacher. */
  public static final ReflowOptions DEFAULTS =
      ReflowOptionsBuilder.builder()
          .coupling(Coupling.PAIRS)
          .guidance(3)
          .pairs(4096)
          .solver(null)
          .pairSteps(25)
          .pairsFolder("")
          .captionDropout(0.1)
          .build();

  public ReflowOptions {
    var unused =
        new TeacherPairs.Settings(pairs, solver, pairSteps, guidance, pairsFolder); // checks those
    if (!(captionDropout >= 0 && captionDropout < 1)) {
      throw new IllegalArgumentException(
          "captionDropout is a probability below 1; got " + captionDropout);
    }
  }

  TeacherPairs.Settings pairSettings() {
    return new TeacherPairs.Settings(pairs, solver, pairSteps, guidance, pairsFolder);
  }
}
