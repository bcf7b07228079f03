package org.perflow.distill.rectified;

import org.jspecify.annotations.Nullable;
import org.perflow.flow.TeacherSolver;
import org.perflow.io.Overrides;

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
public record InstaflowOptions(
    double reflowPart,
    double perceptual,
    double guidance,
    int pairs,
    @Nullable TeacherSolver solver,
    int pairSteps,
    String pairsFolder) {

  /** Half the run each. */
  public static final InstaflowOptions DEFAULTS =
      new InstaflowOptions(0.5, 1, 3, 4096, null, 25, "");

  public InstaflowOptions {
    var unused =
        new PairStore.Settings(pairs, solver, pairSteps, guidance, pairsFolder); // checks those
    if (!(reflowPart >= 0 && reflowPart < 1)) {
      throw new IllegalArgumentException(
          "reflowPart is a part of the run, 0 to below 1; got " + reflowPart);
    }
    if (!(perceptual >= 0)) {
      throw new IllegalArgumentException("perceptual must be 0 (none) or more; got " + perceptual);
    }
  }

  /** A copy with one setting changed, by its name; unknown names are errors. */
  public InstaflowOptions with(String name, Object value) {
    return Overrides.with(this, name, value);
  }

  PairStore.Settings pairSettings() {
    return new PairStore.Settings(pairs, solver, pairSteps, guidance, pairsFolder);
  }
}
