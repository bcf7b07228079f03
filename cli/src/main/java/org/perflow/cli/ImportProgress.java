package org.perflow.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.importing.DataImport;
import org.perflow.importing.ImportListener;
import org.perflow.io.Installation;
import org.perflow.train.Progress;

/** Shows an import on standard error. */
final class ImportProgress implements ImportListener, AutoCloseable {
  private final PrintWriter err;
  private @Nullable Progress progress;
  private int total;

  ImportProgress(PrintWriter err) {
    this.err = err;
  }

  /** Data as named for training of {@code model}, imported where they are pictures. */
  static List<Path> shards(Path model, @Nullable List<Path> data, PrintWriter err)
      throws IOException {
    if (data == null) {
      return List.of(Installation.data());
    }
    try (ImportProgress progress = new ImportProgress(err)) {
      return DataImport.shards(model, data, Installation.cache(), progress);
    }
  }

  @Override
  public void onStart(int pictures) {
    total = pictures;
    progress = new Progress("import");
  }

  @Override
  public void onProgress(int done) {
    if (progress != null) {
      progress.at(done, total);
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
