package org.perflow.io;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * Files that are either the old or the new content, whatever happens in between: written beside,
 * forced to disk, renamed. Safe for several threads and processes; the last one to finish wins.
 */
public final class AtomicFiles {
  private AtomicFiles() {}

  /** Writes the content of a file. */
  @FunctionalInterface
  public interface Body {
    /** Writes everything to {@code out}, which is buffered, and does not close it. */
    void writeTo(OutputStream out) throws IOException;
  }

  /**
   * Makes {@code body} the content of {@code target}; missing parent folders are made.
   *
   * @throws IOException naming the target, with the old content untouched; so with whatever else
   *     the body throws
   */
  public static void write(Path target, Body body) throws IOException {
    try (PendingFile file = new PendingFile(target)) {
      body.writeTo(file.out());
      file.commit();
    } catch (FormatException e) {
      throw e; // of what was read meanwhile: nothing is wrong with the target
    } catch (IOException e) {
      throw new IOException(explain(target, e), e);
    }
  }

  /**
   * Puts the folder {@code prepared}, on the same disk, in the place of {@code target}. A process
   * killed right between the two renames leaves no target; {@link #recoverDirectory} brings the old
   * one back.
   */
  public static void replaceDirectory(Path prepared, Path target) throws IOException {
    forceTree(prepared);
    Path previous = PendingFile.sibling(target, "previous");
    if (Files.exists(target)) {
      deleteDirectory(previous);
      Files.move(target, previous, StandardCopyOption.ATOMIC_MOVE);
    }
    try {
      Files.createDirectories(PendingFile.parent(target));
      Files.move(prepared, target, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      recoverDirectory(target);
      throw new IOException(explain(target, e), e);
    }
    PendingFile.forceFolder(PendingFile.parent(target));
    deleteDirectory(previous);
  }

  /** Undoes a {@link #replaceDirectory} that was killed half way; else does nothing. */
  public static void recoverDirectory(Path target) throws IOException {
    Path previous = PendingFile.sibling(target, "previous");
    if (!Files.exists(target) && Files.exists(previous)) {
      Files.move(previous, target, StandardCopyOption.ATOMIC_MOVE);
    }
  }

  static String explain(Path target, IOException e) {
    String reason = e.getMessage() == null ? e.toString() : e.getMessage();
    String lower = reason.toLowerCase(Locale.ROOT);
    boolean full =
        Stream.of("no space left", "not enough space", "quota exceeded").anyMatch(lower::contains);
    return "cannot write "
        + target
        + ": "
        + (full ? "the disk is full (" + reason + "); free some space or choose another" : reason)
        + "; what was there before is untouched";
  }

  private static void forceTree(Path folder) throws IOException {
    for (Path path : tree(folder)) {
      if (Files.isRegularFile(path)) {
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
          channel.force(true);
        }
      } else {
        PendingFile.forceFolder(path);
      }
    }
  }

  /** Deletes a folder with all that is in it; does nothing where there is none. */
  public static void deleteDirectory(Path folder) throws IOException {
    if (Files.exists(folder)) {
      for (Path path : tree(folder)) {
        Files.delete(path);
      }
    }
  }

  /** What a folder holds, deepest first, with the folder itself. */
  private static List<Path> tree(Path folder) throws IOException {
    try (Stream<Path> paths = Files.walk(folder)) {
      return paths.sorted(Comparator.reverseOrder()).toList();
    }
  }
}
