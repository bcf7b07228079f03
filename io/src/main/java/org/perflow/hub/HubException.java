package org.perflow.hub;

import java.io.IOException;

/** A model could not be had from the hub; the message says why and what to do. */
public final class HubException extends IOException {

  /** What went wrong. */
  public enum Kind {
    /** There is no such repository, revision or file, or it is private. */
    ABSENT,
    /** The hub knows it and does not give it to this user. */
    DENIED,
    /** No connection may be made, and the cache lacks something. */
    OFFLINE,
    /** The hub cannot be reached, or is busy; may pass. */
    UNREACHABLE,
    /** What arrived is not what was announced. */
    DAMAGED,
    /** The disk has too little room. */
    NO_SPACE
  }

  private final Kind kind;

  public HubException(Kind kind, String message) {
    super(message);
    this.kind = kind;
  }

  public HubException(Kind kind, String message, Throwable cause) {
    super(message, cause);
    this.kind = kind;
  }

  public Kind kind() {
    return kind;
  }
}
