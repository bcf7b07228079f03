package org.perflow.hub;

/** Is told how far a fetch is; from several threads, one at a time. */
public interface FetchListener {
  /** Hears nothing. */
  FetchListener SILENT = new FetchListener() {};

  /** Files that are not in the cache yet will be fetched: so many, of so many bytes in all. */
  default void onStart(String name, int files, long bytes) {}

  /** So many of the bytes are there; fewer than before where something had to begin anew. */
  default void onProgress(long bytes) {}

  /** Something that a user should know, in a sentence. */
  default void onNote(String note) {}

  /** What was started is there. Not called where it failed. */
  default void onEnd() {}
}
