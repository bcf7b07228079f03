package org.perflow.distill;

import org.perflow.train.Overrides;

/**
 * Settings of {@link ProgressiveMethod}. Immutable, valid once made; JSON by these names.
 *
 * @param startSteps of the teacher's DDIM that the first stage halves
 * @param endSteps of the student when the last stage is done: startSteps halved a few times
 * @param guidance of the teacher in the first stage, after which it is in the student's weights; 1
 *     = none
 */
public record ProgressiveOptions(int startSteps, int endSteps, double guidance) {
  /** The guided teacher's 32 steps to 4. */
  public static final ProgressiveOptions DEFAULTS = new ProgressiveOptions(32, 4, 3);

  public ProgressiveOptions {
    int ratio = endSteps < 1 ? 0 : startSteps / endSteps;
    if (ratio < 2 || ratio * endSteps != startSteps || Integer.bitCount(ratio) != 1) {
      throw new IllegalArgumentException(
          "startSteps must be endSteps times 2, 4, 8, ...; got " + startSteps + " and " + endSteps);
    }
    if (!(guidance >= 1)) {
      throw new IllegalArgumentException("guidance must be 1 (none) or more; got " + guidance);
    }
  }

  /** A copy with one setting changed, by its name; unknown names are errors. */
  public ProgressiveOptions with(String name, Object value) {
    return Overrides.with(this, name, value);
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
