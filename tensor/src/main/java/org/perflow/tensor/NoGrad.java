package org.perflow.tensor;

import org.bytedeco.pytorch.GradMode;

/**
 * Turns gradient recording off on this thread until closed. Grad mode is per thread: a worker opens
 * its own guard.
 */
public final class NoGrad implements AutoCloseable {
  static {
    Natives.prepare();
  }

  private final boolean before = GradMode.is_enabled();

  private NoGrad() {}

  /** Stops recording on this thread. */
  public static NoGrad enter() {
    NoGrad guard = new NoGrad();
    GradMode.set_enabled(false);
    return guard;
  }

  /** Puts the mode back as it was. */
  @Override
  public void close() {
    GradMode.set_enabled(before);
  }
}
