package org.perflow.cli;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.locks.ReentrantLock;
import org.perflow.io.Images;
import org.perflow.train.Progress;

/**
 * The pictures of one drawing, each written as soon as it is drawn, and the files beside them.
 * While open, Ctrl-C (or SIGTERM) ends the program after the file at hand and says which pictures
 * there are.
 */
final class DrawnPictures implements AutoCloseable {
  private final Path out;
  private final int total;
  private final PrintWriter err;
  private final List<Path> written = new ArrayList<>();
  private final ReentrantLock writing = new ReentrantLock();
  private final Thread hook = new Thread(this::stopped, "stop on interrupt");

  /**
   * @param out the file of a single picture; of several, NAME-001.png and so on stand beside it
   * @param total pictures that are drawn in all
   */
  DrawnPictures(Path out, int total, PrintWriter err) {
    this.out = out;
    this.total = total;
    this.err = err;
    Runtime.getRuntime().addShutdownHook(hook);
  }

  /** Writes a file. */
  @FunctionalInterface
  interface Body {
    void write() throws IOException;
  }

  /** Writes the next picture; the file it is in. */
  Path write(BufferedImage picture, Map<String, String> text) throws IOException {
    Path file = total == 1 ? out : beside("%03d".formatted(written.size() + 1));
    whole(
        () -> {
          Images.writePng(file, picture, text);
          written.add(file);
        });
    return file;
  }

  /** Writes another file, such as a preview, which no signal cuts short either. */
  void whole(Body file) throws IOException {
    writing.lock();
    try {
      file.write();
    } finally {
      writing.unlock();
    }
  }

  /** {@code cats.png} to {@code cats-SUFFIX.png}. */
  Path beside(String suffix) {
    String name = out.getFileName().toString();
    boolean png = name.toLowerCase(Locale.ROOT).endsWith(".png");
    String stem = png ? name.substring(0, name.length() - 4) : name;
    return out.resolveSibling("%s-%s.png".formatted(stem, suffix));
  }

  private void stopped() {
    writing.lock(); // for good: no other file is begun
    if (Progress.isTerminal()) {
      err.println(); // after the progress, and what the terminal shows of Ctrl-C
    }
    int done = written.size();
    String which = done == 0 ? "" : ": " + written.get(0);
    String last = done < 2 ? "" : " to " + written.get(done - 1);
    err.println("stopped; %d of %d pictures are written%s%s".formatted(done, total, which, last));
    err.flush();
  }

  @Override
  public void close() {
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // The virtual machine is going down already.
    }
  }
}
