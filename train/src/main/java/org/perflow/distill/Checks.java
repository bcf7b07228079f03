package org.perflow.distill;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;

/** What settings that several methods share must be. */
public final class Checks {
  private Checks() {}

  public static void that(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(otherwise);
    }
  }

  public static void guidance(double scale) {
    that(scale >= 1, "guidance must be 1 (none) or above; got " + scale);
  }

  /** Refuses teachers from whose output at pure noise nothing follows about the data. */
  public static void signal(ObjectNode teacher) {
    NoiseSchedule schedule = NoiseSchedule.of(teacher);
    PredictionType.of(teacher).requireSignal(schedule, schedule.size() - 1);
  }

  public static void part(String name, double value) {
    that(value >= 0 && value < 1, name + " is a part of the whole, 0 to below 1; got " + value);
  }

  public static void weight(String name, double value) {
    that(value >= 0, name + " must be 0 (off) or above; got " + value);
  }

  public static void fake(int updates, double learningRate, int rank) {
    that(updates >= 1, "fakeUpdates must be 1 or more; got " + updates);
    that(
        learningRate >= 0 && learningRate < 1,
        "fakeLearningRate must lie between 0 (the student's) and 1; got " + learningRate);
    that(rank >= 0, "fakeRank must be 0 (all weights) or above; got " + rank);
  }
}
