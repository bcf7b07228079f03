package org.perflow.train;

import java.io.Console;
import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.jspecify.annotations.Nullable;

/**
 * How far something is, on standard error: a live bar on a terminal, a line now and then elsewhere.
 */
public final class Progress implements AutoCloseable {
  private static final long PARTS = 1000;
  private static final long LINE_NANOS = 10_000_000_000L;

  private final String name;
  private final @Nullable ProgressBar bar;
  private long lastLine = System.nanoTime() - LINE_NANOS;

  /** Nothing is done yet. */
  public Progress(String name) {
    this.name = name;
    this.bar =
        isTerminal()
            ? new ProgressBarBuilder()
                .setTaskName(name)
                .setInitialMax(PARTS)
                .setStyle(ProgressBarStyle.ASCII)
                .setUpdateIntervalMillis(500)
                .hideEta()
                .build()
            : null;
  }

  /** Whether somebody is looking: standard input and output are a terminal. */
  public static boolean isTerminal() {
    Console console = System.console();
    if (console == null) {
      return false;
    }
    try { // since Java 22 there may be a console without a terminal
      return (boolean) Console.class.getMethod("isTerminal").invoke(console);
    } catch (ReflectiveOperationException e) {
      return true; // before: only where there is one
    }
  }

  /** So many of so many are done. */
  public void at(long done, long of) {
    at((double) done / of, done + " of " + of);
  }

  /** A part, 0..1, is done. */
  public void at(double part, String text) {
    if (bar != null) {
      bar.stepTo(Math.round(PARTS * part));
      bar.setExtraMessage(text);
      return;
    }
    long now = System.nanoTime();
    if (now - lastLine >= LINE_NANOS || part >= 1) {
      lastLine = now;
      System.err.printf(Locale.ROOT, "%s %5.1f%%  %s%n", name, 100 * part, text);
    }
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
    }
  }
}
