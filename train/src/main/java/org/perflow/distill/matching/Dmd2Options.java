package org.perflow.distill.matching;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.perflow.distill.Checks;

/**
 * Settings of {@link Dmd2Method}. Immutable, valid once made.
 *
 * @param studentSteps that the student is trained for and sampled in
 * @param guidance scale of the teacher's score
 * @param fakeUpdates of the fake score for one of the student: fewer are cheaper and less stable
 * @param fakeLearningRate of the fake score; 0 = the student's peak
 * @param fakeRank of the fake score's low-rank factors; 0 = all its weights
 * @param ganWeight of the adversarial loss in the student's; 0 = no discriminator
 * @param discriminatorWeight of its loss in the fake score's
 * @param r1Weight of the discriminator's penalty, see {@link Discriminator}
 * @param r1Noise deviation of the noise that it must not notice
 */
@RecordBuilder
public record Dmd2Options(
    int studentSteps,
    double guidance,
    int fakeUpdates,
    double fakeLearningRate,
    int fakeRank,
    double ganWeight,
    double discriminatorWeight,
    double r1Weight,
    double r1Noise)
    implements Dmd2OptionsBuilder.With {

  /** The published weights of SD 1.5, in four steps as for SDXL; the penalty is FastGen's. */
  public static final Dmd2Options DEFAULTS =
      Dmd2OptionsBuilder.builder()
          .studentSteps(4)
          .guidance(3.0)
          .fakeUpdates(5)
          .fakeLearningRate(0)
          .fakeRank(0)
          .ganWeight(1e-3)
          .discriminatorWeight(1e-2)
          .r1Weight(100)
          .r1Noise(0.1)
          .build();

  public Dmd2Options {
    Checks.that(studentSteps >= 1, "studentSteps must be 1 or more; got " + studentSteps);
    Checks.guidance(guidance);
    Checks.fake(fakeUpdates, fakeLearningRate, fakeRank);
    Checks.weight("ganWeight", ganWeight);
    Checks.weight("discriminatorWeight", discriminatorWeight);
    Checks.weight("r1Weight", r1Weight);
    Checks.weight("r1Noise", r1Noise);
    Checks.that(
        ganWeight == 0 || discriminatorWeight > 0,
        "with a ganWeight the discriminator must learn: discriminatorWeight must be above 0");
  }
}
