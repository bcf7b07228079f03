package org.perflow.train;

/** Training was stopped since the loss or a gradient is not a finite number. */
public final class DivergedException extends RuntimeException {
  /** Says what is not finite and what to change. */
  public DivergedException(String message) {
    super(message);
  }
}
