package org.perflow.tensor;

import org.bytedeco.pytorch.AutoGradMode;

/**
 * Turns gradient recording off on this thread until closed. Grad mode is per thread: a worker opens
 * its own guard.
 */
public final class NoGrad implements AutoCloseable {
  private final AutoGradMode guard;

  private NoGrad(boolean enabled) {
    guard = new AutoGradMode(enabled);
    guard.retainReference();
  }

  /** Stops recording on this thread. */
  public static NoGrad enter() {
    return new NoGrad(false);
  }

  /** Records again on this thread, inside an outer {@link #enter}. */
  static NoGrad leave() {
    return new NoGrad(true);
  }

  /** Puts the mode back as it was. */
  @Override
  public void close() {
    guard.releaseReference();
  }
}
