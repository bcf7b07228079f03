package org.perflow.distill;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.perflow.memory.Beside;
import org.perflow.models.UNetConfig;
import org.perflow.train.LoraOptions;
import org.perflow.train.Objective;

/**
 * A way to make a few-step student. Stateless; {@link org.perflow.accelerate.Methods} holds one of
 * each.
 *
 * @param <O> its settings: an immutable record that is valid once made; a setting that two methods
 *     share has one name and one type
 */
public interface Method<O extends Record> {
  /** Its name on the command line and in configs. */
  String name();

  /** When to choose it: one line of help. */
  String advice();

  /** Its settings where nothing is chosen. */
  O defaults();

  /** The settings for a teacher of that scheduler config where some follow from it. */
  default O suited(ObjectNode teacher, O options) {
    return options;
  }

  /**
   * Refuses teachers that it cannot serve.
   *
   * @throws IllegalArgumentException saying what about the teacher does not fit and what would
   */
  default void require(ObjectNode teacher, O options) {}

  /** Whether low-rank factors are trained where nothing is chosen. */
  default LoraOptions lora() {
    return LoraOptions.DEFAULTS;
  }

  /**
   * Refuses to train all weights, or factors, where it can only do the other.
   *
   * @throws IllegalArgumentException saying what to choose
   */
  default void require(LoraOptions lora, O options) {}

  /**
   * Part of the captions (0..1) that are put together from pieces of several; see {@link
   * org.perflow.train.MixedCaptions}.
   */
  default double mixedCaptions(O options) {
    return 0;
  }

  /** The networks that it keeps beside student and teacher: for the plan of memory. */
  default Beside beside(O options) {
    return Beside.NOTHING;
  }

  /** Whether a batch may be split into smaller ones, of any size. */
  default boolean splits(O options) {
    return true;
  }

  /** The student's architecture; what the teacher lacks starts so that nothing changes. */
  default UNetConfig student(UNetConfig teacher, O options) {
    return teacher;
  }

  /**
   * How the student is sampled: its scheduler config, with {@link
   * org.perflow.models.SchedulerConfig#STEPS} and {@link
   * org.perflow.models.SchedulerConfig#GUIDANCE}.
   */
  ObjectNode scheduler(ObjectNode teacher, O options);

  /** What training minimises. The caller closes it. */
  Objective objective(Task task, O options);
}
