package org.perflow.io;

import java.io.IOException;

/**
 * Makes an answer of the two errors that a file can cause, though readers bound what they take: a
 * heap that is too small, and a stack that is.
 */
public final class Reading {
  private Reading() {}

  /** Reads something. */
  @FunctionalInterface
  public interface Body<T> {
    T read() throws IOException;
  }

  /**
   * What {@code body} reads.
   *
   * @param source what is being read, for the message: a file as a rule
   * @throws FormatException in the place of an {@link OutOfMemoryError} or {@link
   *     StackOverflowError}
   */
  public static <T> T of(Object source, Body<T> body) throws IOException {
    try {
      return body.read();
    } catch (OutOfMemoryError e) {
      throw new FormatException(
          "%s: reading it takes more than Java's heap of %,d MB; give it more (-Xmx) if the file is what it should be"
              .formatted(source, Runtime.getRuntime().maxMemory() >> 20),
          e);
    } catch (StackOverflowError e) {
      throw new FormatException(source + ": it is nested too deeply to be read", e);
    }
  }
}
