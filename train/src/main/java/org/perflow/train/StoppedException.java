package org.perflow.train;

import java.io.IOException;

/** A run was stopped before its end, see {@link TrainListener}; its checkpoint is written. */
public final class StoppedException extends IOException {
  private static final long serialVersionUID = 1;

  StoppedException(String message) {
    super(message);
  }
}
