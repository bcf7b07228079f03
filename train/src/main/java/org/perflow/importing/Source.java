package org.perflow.importing;

import java.io.IOException;

/** Pictures with captions in one place. */
interface Source extends AutoCloseable {
  /** What it is called in names of pictures and in the report. */
  String name();

  /**
   * Tells {@code listing} of every picture, in an order that depends on names alone, without
   * reading pixels. What cannot be taken is told, too.
   *
   * @throws IOException where nothing can be listed, such as of a table without captions
   */
  void list(Listing listing) throws IOException;

  /** Closes what reading pictures has opened. */
  @Override
  default void close() throws IOException {}
}
