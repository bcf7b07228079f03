package org.perflow.serve;

/** Why something is not drawn, in words for who asked; no path of this machine is in them. */
public final class RefusedException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** Kinds of refusal. */
  public enum Reason {
    /** The request means nothing, or not for this model. */
    BAD_REQUEST,
    /** There is no model, LoRA, ControlNet or sampler of that name. */
    UNKNOWN,
    /** By the estimate it needs more memory than the engine may take. */
    TOO_LARGE,
    /** As many jobs wait as may. */
    QUEUE_FULL,
    /** The engine takes no more work. */
    STOPPING,
    /** The same key came with another request before. */
    CONFLICT,
    /** It was drawn for longer than it may be. */
    TIMEOUT,
    /** Somebody took it back. */
    CANCELLED,
    /** Drawing failed; the log says why. */
    FAILED
  }

  private final Reason reason;

  public RefusedException(Reason reason, String message) {
    super(message);
    this.reason = reason;
  }

  public RefusedException(Reason reason, String message, Throwable cause) {
    super(message, cause);
    this.reason = reason;
  }

  /** What kind it is. */
  public Reason reason() {
    return reason;
  }
}
