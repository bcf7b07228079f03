package org.perflow.train;

import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.jspecify.annotations.Nullable;

/** Counts on standard error: a live bar on a terminal, a line now and then elsewhere. */
public final class Progress implements AutoCloseable {
  private static final long LINE_NANOS = 10_000_000_000L;

  private final String name;
  private final long total;
  private final @Nullable ProgressBar bar;
  private long lastLine = System.nanoTime();

  /** From 0 to {@code total}. */
  public Progress(String name, long total) {
    this.name = name;
    this.total = total;
    this.bar =
        ProgressListener.isTerminal()
            ? new ProgressBarBuilder()
                .setTaskName(name)
                .setInitialMax(total)
                .setStyle(ProgressBarStyle.ASCII)
                .setUpdateIntervalMillis(500)
                .build()
            : null;
  }

  /** So many are done. */
  public void at(long done) {
    long now = System.nanoTime();
    if (bar != null) {
      bar.stepTo(done);
    } else if (now - lastLine >= LINE_NANOS) {
      lastLine = now;
      System.err.printf(Locale.ROOT, "%s %d of %d%n", name, done, total);
    }
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
    }
  }
}
