package org.perflow.train;

import java.nio.file.Path;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/** Shows a training on standard error, as {@link Progress} does. */
public final class ProgressListener implements TrainListener, AutoCloseable {
  private @Nullable Progress progress;
  private double smoothed = Double.NaN;

  @Override
  public void onStart(String name) {
    close();
    smoothed = Double.NaN;
    progress = new Progress(name);
  }

  @Override
  public void onNote(String note) {
    System.err.println(note);
  }

  @Override
  public void onStep(Report report) {
    smoothed =
        Double.isNaN(smoothed) ? report.loss() : smoothed + 0.05 * (report.loss() - smoothed);
    if (progress != null) {
      progress.at(
          report.progress(),
          String.format(
              Locale.ROOT,
              "step %d  loss %.4f  %.1f images/s  %s left",
              report.step(),
              smoothed,
              report.imagesPerSecond(),
              clock(report.secondsLeft())));
    }
  }

  @Override
  public void onCheckpoint(long step, Path folder) {
    if (!Progress.isTerminal()) {
      System.err.println("checkpoint " + folder);
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
    if (progress != null) {
      progress.close();
      progress = null;
    }
  }
}
