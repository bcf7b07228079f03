package org.perflow.cli.terminal;

import java.io.PrintWriter;
import org.jspecify.annotations.Nullable;
import org.perflow.hub.FetchListener;
import org.perflow.train.Progress;

/** Shows a fetch from the hub on standard error, in megabytes. */
public final class FetchProgress implements FetchListener, AutoCloseable {
  private static final long MEGABYTE = 1_000_000;

  private final PrintWriter err;
  private @Nullable Progress progress;
  private long total;
  private long shown;

  /** Prints there. */
  public FetchProgress(PrintWriter err) {
    this.err = err;
  }

  @Override
  public void onStart(String name, int files, long bytes) {
    close();
    if (bytes >= MEGABYTE) { // settings are here at once
      err.printf("%s: fetching %d files, %,d MB%n", name, files, bytes / MEGABYTE);
      progress = new Progress("fetch");
      total = bytes;
      shown = -1;
    }
  }

  @Override
  public void onProgress(long bytes) {
    if (progress != null && (bytes / MEGABYTE != shown || bytes == total)) {
      shown = bytes / MEGABYTE;
      progress.at((double) bytes / total, "%,d of %,d MB".formatted(shown, total / MEGABYTE));
    }
  }

  @Override
  public void onNote(String note) {
    err.println("note: " + note);
  }

  @Override
  public void onEnd() {
    close();
  }

  @Override
  public void close() {
    if (progress != null) {
      progress.close();
      progress = null;
    }
  }
}
