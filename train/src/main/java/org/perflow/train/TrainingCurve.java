package org.perflow.train;

import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FormatException;

/**
 * Keeps the loss of a run as a CSV file, a line each time the trainer reports. A run that goes on
 * from a checkpoint takes the lines back that came after it and adds its own. One thread.
 */
public final class TrainingCurve implements TrainListener, AutoCloseable {
  private static final String HEADER = "step,images,seconds,loss,images_per_second\n";

  private final Path file;
  private @Nullable BufferedWriter out; // from the first report on

  /**
   * A line.
   *
   * @param step optimiser steps made so far, from 1
   * @param images seen so far
   * @param seconds trained so far, over all sittings
   * @param loss of that step
   * @param imagesPerSecond since the run was started or resumed
   */
  public record Point(long step, long images, double seconds, double loss, double imagesPerSecond) {
    String line() {
      return String.format(
          Locale.ROOT, "%d,%d,%.2f,%.6g,%.4g\n", step, images, seconds, loss, imagesPerSecond);
    }
  }

  /** Nothing is written before the first report. */
  public TrainingCurve(Path file) {
    this.file = file;
  }

  @Override
  public void onStep(Report report) throws IOException {
    BufferedWriter lines = out == null ? open(report.step()) : out;
    out = lines;
    lines.write(
        new Point(
                report.step(),
                report.images(),
                report.seconds(),
                report.loss(),
                report.imagesPerSecond())
            .line());
    lines.flush();
  }

  private BufferedWriter open(long step) throws IOException {
    StringBuilder kept = new StringBuilder(HEADER);
    if (Files.exists(file)) {
      read(file).stream()
          .filter(point -> point.step() < step)
          .forEach(point -> kept.append(point.line()));
    }
    AtomicFiles.write(file, to -> to.write(kept.toString().getBytes(StandardCharsets.UTF_8)));
    return Files.newBufferedWriter(file, StandardOpenOption.APPEND);
  }

  /**
   * The points of such a file; a last line that was cut off does not count.
   *
   * @throws FormatException naming the line that is none
   */
  public static List<Point> read(Path file) throws IOException {
    String text = Files.readString(file);
    List<String> lines = text.substring(0, text.lastIndexOf('\n') + 1).lines().skip(1).toList();
    Point[] points = new Point[lines.size()];
    for (int i = 0; i < points.length; i++) {
      points[i] = point(file, i + 2, lines.get(i).split(",", -1));
    }
    return List.of(points);
  }

  private static Point point(Path file, int line, String[] cells) throws FormatException {
    try {
      return new Point(
          Long.parseLong(cells[0]),
          Long.parseLong(cells[1]),
          Double.parseDouble(cells[2]),
          Double.parseDouble(cells[3]),
          Double.parseDouble(cells[4]));
    } catch (NumberFormatException | ArrayIndexOutOfBoundsException e) {
      throw new FormatException(
          "%s: line %d is %s; expected %s: remove that line"
              .formatted(file, line, String.join(",", cells), HEADER.strip()),
          e);
    }
  }

  @Override
  public void close() throws IOException {
    if (out != null) {
      out.close();
    }
  }
}
