package org.perflow.distill;

import java.util.Map;
import org.perflow.tensor.Tensor;

/** What an objective owns beside the student and carries from step to step. */
public interface Part extends AutoCloseable {
  /** For checkpoints, as in {@link org.perflow.train.Objective#state}. */
  Map<String, Tensor> state();

  /** As {@link org.perflow.train.Objective#supervise}. */
  default void supervise() {}

  /** Frees it. */
  @Override
  void close();
}
