package org.perflow.io;

import java.io.IOException;

/** A file is there and readable, but its content is not what it has to be; the message names it. */
public final class FormatException extends IOException {
  public FormatException(String message) {
    super(message);
  }

  public FormatException(String message, Throwable cause) {
    super(message, cause);
  }
}
