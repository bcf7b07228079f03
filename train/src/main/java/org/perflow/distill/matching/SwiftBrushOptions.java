package org.perflow.distill.matching;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.perflow.distill.Checks;

/**
 * Settings of {@link SwiftBrushMethod}. Immutable, valid once made.
 *
 * @param guidance scale of both scores
 * @param fakeUpdates of the fake score for one of the student
 * @param fakeLearningRate of the fake score; 0 = the student's peak
 * @param fakeRank of the fake score's low-rank factors; 0 = all its weights
 * @param captionDropout part of the captions that the fake score learns without
 */
@RecordBuilder
public record SwiftBrushOptions(
    double guidance, int fakeUpdates, double fakeLearningRate, int fakeRank, double captionDropout)
    implements SwiftBrushOptionsBuilder.With {

  /** The paper's, of which two time scales come by the learning rate. */
  public static final SwiftBrushOptions DEFAULTS =
      SwiftBrushOptionsBuilder.builder()
          .guidance(4.5)
          .fakeUpdates(1)
          .fakeLearningRate(1e-3)
          .fakeRank(64)
          .captionDropout(0.1)
          .build();

  public SwiftBrushOptions {
    Checks.guidance(guidance);
    Checks.fake(fakeUpdates, fakeLearningRate, fakeRank);
    Checks.part("captionDropout", captionDropout);
  }
}
