package org.perflow.distill;

/** What settings that several methods share must be. */
final class Checks {
  private Checks() {}

  static void that(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(otherwise);
    }
  }

  static void guidance(double scale) {
    that(scale >= 1, "guidance must be 1 (none) or above; got " + scale);
  }

  static void part(String name, double value) {
    that(value >= 0 && value < 1, name + " is a part of the whole, 0 to below 1; got " + value);
  }

  static void weight(String name, double value) {
    that(value >= 0, name + " must be 0 (off) or above; got " + value);
  }

  static void fake(int updates, double learningRate, int rank) {
    that(updates >= 1, "fakeUpdates must be 1 or more; got " + updates);
    that(
        learningRate >= 0 && learningRate < 1,
        "fakeLearningRate must lie between 0 (the student's) and 1; got " + learningRate);
    that(rank >= 0, "fakeRank must be 0 (all weights) or above; got " + rank);
  }
}
