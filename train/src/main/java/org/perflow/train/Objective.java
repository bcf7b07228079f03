package org.perflow.train;

import java.util.List;
import java.util.Map;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;

/**
 * What a {@link Trainer} minimises: a scalar loss over examples of a data set. Everything random
 * comes from the step's generator, so that a run can be resumed bit by bit. Used by one thread.
 */
public interface Objective extends AutoCloseable {
  /**
   * One micro-batch.
   *
   * @param number optimiser step, from 0
   * @param progress part of the run that is done, 0 to 1
   * @param examples which ones, by position in the data set
   * @param rng where all noise comes from
   */
  @SuppressWarnings("ArrayRecordComponent") // passed on, never compared
  record Step(long number, double progress, long[] examples, Rng rng) {}

  /** The weights to train, by unique name. */
  Map<String, Parameter> parameters();

  /** Number of examples in the data set. */
  int examples();

  /**
   * Examples that may stand in one batch, by group; one that is to be seen more often stands there
   * as often. All of them where nothing else is said.
   */
  default List<long[]> groups() {
    return List.of(DataOrder.range(examples()));
  }

  /** The mean loss of the examples, a float32 scalar with a graph; owned by the caller's scope. */
  Tensor loss(Step step);

  /**
   * Called whenever the trainer reads the loss, which is rare on devices where reading waits: reads
   * what else shows how the run is doing.
   *
   * @throws DivergedException where it cannot come to anything any more
   */
  default void supervise() {}

  /**
   * What a run must carry from step to step beside its weights, by unique name: tensors of fixed
   * shape that a checkpoint writes and restores in place.
   */
  default Map<String, Tensor> state() {
    return Map.of();
  }

  /**
   * Seconds that it took to make what this learns from, such as a teacher's pictures, in whichever
   * run that was. Training has its own clock.
   */
  default double preparationSeconds() {
    return 0;
  }

  /**
   * Called once, before the first step of a new run; returns what to tell the user, or nothing.
   *
   * @throws IllegalStateException where training cannot come to anything
   */
  default String check() {
    return "";
  }

  /** Frees what it made for itself; networks and data belong to the caller. */
  @Override
  default void close() {}
}
