package org.perflow.distill.matching;

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
public record SwiftBrushOptions(
    double guidance,
    int fakeUpdates,
    double fakeLearningRate,
    int fakeRank,
    double captionDropout) {

  /** The paper's, of which two time scales come by the learning rate. */
  public static final SwiftBrushOptions DEFAULTS = new SwiftBrushOptions(4.5, 1, 1e-3, 64, 0.1);

  public SwiftBrushOptions {
    Checks.guidance(guidance);
    Checks.fake(fakeUpdates, fakeLearningRate, fakeRank);
    Checks.part("captionDropout", captionDropout);
  }
}
