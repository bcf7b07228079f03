package org.perflow.cli;

import java.io.PrintWriter;
import org.jspecify.annotations.Nullable;
import org.perflow.importing.ImportListener;
import org.perflow.train.Progress;

/** Shows an import on standard error. */
final class ImportProgress implements ImportListener, AutoCloseable {
  private final PrintWriter err;
  private @Nullable Progress progress;

  ImportProgress(PrintWriter err) {
    this.err = err;
  }

  @Override
  public void onStart(int pictures) {
    progress = new Progress("import", pictures);
  }

  @Override
  public void onProgress(int done) {
    if (progress != null) {
      progress.at(done);
    }
  }

  @Override
  public void onNote(String note) {
    err.println(note);
  }

  @Override
  public void close() {
    if (progress != null) {
      progress.close();
    }
  }
}
