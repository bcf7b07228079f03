package org.perflow.distill.matching;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.perflow.distill.Checks;
import org.perflow.flow.TeacherSolver;

/**
 * Settings of {@link DmdMethod}. Immutable, valid once made.
 *
 * @param guidance scale of the teacher, in its score and in its pairs
 * @param fakeUpdates of the fake score for one of the student
 * @param fakeLearningRate of the fake score; 0 = the student's peak
 * @param fakeRank of the fake score's low-rank factors; 0 = all its weights
 * @param regressionWeight of the distance to the teacher's samples; 0 = no pairs are made
 * @param pairPool pairs that are kept
 * @param solver of the teacher's ODE for a pair
 * @param solvingSteps evaluations of the teacher for one
 */
@RecordBuilder
public record DmdOptions(
    double guidance,
    int fakeUpdates,
    double fakeLearningRate,
    int fakeRank,
    double regressionWeight,
    int pairPool,
    TeacherSolver solver,
    int solvingSteps)
    implements DmdOptionsBuilder.With {

  /** The paper's, whose regression is LPIPS at that weight; 20 steps of DDIM make a pair. */
  public static final DmdOptions DEFAULTS =
      DmdOptionsBuilder.builder()
          .guidance(3.0)
          .fakeUpdates(1)
          .fakeLearningRate(0)
          .fakeRank(0)
          .regressionWeight(0.25)
          .pairPool(1024)
          .solver(TeacherSolver.DDIM)
          .solvingSteps(20)
          .build();

  public DmdOptions {
    Checks.guidance(guidance);
    Checks.fake(fakeUpdates, fakeLearningRate, fakeRank);
    Checks.weight("regressionWeight", regressionWeight);
    Checks.that(pairPool >= 1, "pairPool must be 1 or more; got " + pairPool);
    solver.steps(solvingSteps); // refuses what makes no whole number of steps
  }
}
