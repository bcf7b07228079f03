package org.perflow.importing;

import java.io.IOException;

/**
 * A picture that a source has, not read yet.
 *
 * @param name where it is, for people: the source's name, then the way to it
 * @param caption what it shows
 * @param repeats how often it is seen for once that one of weight 1 is
 * @param stamp what changes when the picture does, such as size and time of its file
 * @param content its bytes
 */
record Entry(String name, String caption, int repeats, String stamp, Content content) {
  /** Reads a picture. Called for some entries of a source, in their order, by one thread. */
  @FunctionalInterface
  interface Content {
    byte[] read() throws IOException;
  }
}
