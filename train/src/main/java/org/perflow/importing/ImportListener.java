package org.perflow.importing;

/** Is told how far a {@link DataImport} has come, on the thread that imports. */
public interface ImportListener {
  /** Begins, or goes on: so many pictures were found. */
  default void onStart(int pictures) {}

  /** So many of them are done, whether taken or left out. */
  default void onProgress(int done) {}

  /** Something that the user should know. */
  default void onNote(String note) {}
}
