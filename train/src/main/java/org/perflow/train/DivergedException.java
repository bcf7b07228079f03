package org.perflow.train;

/** Training was stopped since the loss or a gradient is not a finite number. */
public final class DivergedException extends RuntimeException {
  DivergedException(String message) {
    super(message);
  }
}
