package org.perflow.train;

import java.io.Console;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.jspecify.annotations.Nullable;

/** Shows a run on standard error: a live bar on a terminal, a line now and then elsewhere. */
public final class ProgressListener implements TrainListener, AutoCloseable {
  private static final long PARTS = 1000;
  private static final long LINE_NANOS = 10_000_000_000L;

  private final PrintStream out;
  private final boolean terminal;
  private @Nullable ProgressBar bar;
  private long lastLine;
  private double smoothed = Double.NaN;

  /** With a bar where there is a terminal. */
  public ProgressListener() {
    out = System.err;
    terminal = isTerminal();
    lastLine = System.nanoTime() - LINE_NANOS;
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

  @Override
  public void onStart(String name) {
    smoothed = Double.NaN;
    if (terminal) {
      bar =
          new ProgressBarBuilder()
              .setTaskName(name)
              .setInitialMax(PARTS)
              .setStyle(ProgressBarStyle.ASCII)
              .setUpdateIntervalMillis(500)
              .hideEta()
              .build();
    }
  }

  @Override
  public void onNote(String note) {
    out.println(note);
  }

  @Override
  public void onStep(Report report) {
    smoothed =
        Double.isNaN(smoothed) ? report.loss() : smoothed + 0.05 * (report.loss() - smoothed);
    String text =
        String.format(
            Locale.ROOT,
            "step %d  loss %.4f  %.1f images/s  %s left",
            report.step(),
            smoothed,
            report.imagesPerSecond(),
            clock(report.secondsLeft()));
    if (bar != null) {
      bar.stepTo(Math.round(PARTS * report.progress()));
      bar.setExtraMessage(text);
      return;
    }
    long now = System.nanoTime();
    if (now - lastLine >= LINE_NANOS || report.progress() >= 1) {
      lastLine = now;
      out.printf(Locale.ROOT, "%5.1f%%  %s%n", 100 * report.progress(), text);
    }
  }

  @Override
  public void onCheckpoint(long step, Path folder) {
    if (bar == null) {
      out.println("checkpoint " + folder);
    }
  }

  @Override
  public void onEnd() {
    close();
  }

  private static String clock(double seconds) {
    long all = Math.round(seconds);
    return String.format(Locale.ROOT, "%d:%02d:%02d", all / 3600, all / 60 % 60, all % 60);
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
      bar = null;
    }
  }
}
