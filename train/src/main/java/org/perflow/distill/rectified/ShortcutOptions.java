package org.perflow.distill.rectified;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.TeacherSolver;

/**
 * Settings of {@link ShortcutMethod}. Immutable, valid once made; JSON by these names.
 *
 * @param finestSteps the number of steps in which sampling is plain Euler: a power of two; steps of
 *     twice the length learn from these, and so on to one step
 * @param consistency part of a batch that learns from two steps of half the length; the rest
 *     follows the lines
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
public record ShortcutOptions(
    int finestSteps,
    double consistency,
    Coupling coupling,
    double guidance,
    int pairs,
    @Nullable TeacherSolver solver,
    int pairSteps,
    String pairsFolder,
    double captionDropout)
    implements ShortcutOptionsBuilder.With {

  /** On pictures of the guided teacher; 128 steps and a quarter as in the paper. */
  public static final ShortcutOptions DEFAULTS =
      ShortcutOptionsBuilder.builder()
          .finestSteps(128)
          .consistency(0.25)
          .coupling(Coupling.SAMPLES)
          .guidance(3)
          .pairs(4096)
          .solver(null)
          .pairSteps(25)
          .pairsFolder("")
          .captionDropout(0)
          .build();

  public ShortcutOptions {
    var unused =
        new TeacherPairs.Settings(pairs, solver, pairSteps, guidance, pairsFolder); // checks those
    if (finestSteps < 2 || Integer.bitCount(finestSteps) != 1) {
      throw new IllegalArgumentException("finestSteps must be 2, 4, 8, ...; got " + finestSteps);
    }
    if (!(consistency > 0 && consistency < 1)) {
      throw new IllegalArgumentException(
          "consistency is a part of the batch, between 0 and 1; got " + consistency);
    }
    if (!(captionDropout >= 0 && captionDropout < 1)) {
      throw new IllegalArgumentException(
          "captionDropout is a probability below 1; got " + captionDropout);
    }
  }

  TeacherPairs.Settings pairSettings() {
    return new TeacherPairs.Settings(pairs, solver, pairSteps, guidance, pairsFolder);
  }
}
