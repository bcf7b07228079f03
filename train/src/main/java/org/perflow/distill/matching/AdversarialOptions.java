package org.perflow.distill.matching;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.perflow.distill.Checks;

/**
 * Settings of {@link AdversarialMethod}. Immutable, valid once made.
 *
 * @param studentSteps that the student is trained for and sampled in
 * @param guidance scale of the teacher that the distillation follows
 * @param fakeUpdates of the discriminator for one of the student
 * @param fakeLearningRate of the discriminator; 0 = the student's peak
 * @param ganWeight of the adversarial loss; 0 = distillation only
 * @param distillationWeight of the distance to the teacher's guess
 * @param r1Weight of the discriminator's penalty, see {@link Discriminator}
 * @param r1Noise deviation of the noise that it must not notice
 */
@RecordBuilder
public record AdversarialOptions(
    int studentSteps,
    double guidance,
    int fakeUpdates,
    double fakeLearningRate,
    double ganWeight,
    double distillationWeight,
    double r1Weight,
    double r1Noise)
    implements AdversarialOptionsBuilder.With {

  /** ADD's weights; the discriminator is all new and learns faster than the student. */
  public static final AdversarialOptions DEFAULTS =
      AdversarialOptionsBuilder.builder()
          .studentSteps(4)
          .guidance(3.0)
          .fakeUpdates(1)
          .fakeLearningRate(1e-3)
          .ganWeight(1)
          .distillationWeight(2.5)
          .r1Weight(100)
          .r1Noise(0.1)
          .build();

  public AdversarialOptions {
    Checks.that(studentSteps >= 1, "studentSteps must be 1 or more; got " + studentSteps);
    Checks.guidance(guidance);
    Checks.fake(fakeUpdates, fakeLearningRate, 0);
    Checks.weight("ganWeight", ganWeight);
    Checks.weight("distillationWeight", distillationWeight);
    Checks.weight("r1Weight", r1Weight);
    Checks.weight("r1Noise", r1Noise);
    Checks.that(
        ganWeight > 0 || distillationWeight > 0,
        "ganWeight and distillationWeight are both 0: nothing would be learned");
  }
}
