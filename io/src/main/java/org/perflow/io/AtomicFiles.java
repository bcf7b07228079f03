package org.perflow.io;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
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
  private static final int PROBE = 4096; // bytes

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

  // ---------------------------------------------------------------- what stands in the way

  /**
   * Finds out, before work that may take hours, whether {@code file} could be written now. Leaves
   * nothing behind.
   *
   * @throws FileSystemException naming the folder and saying why not
   */
  public static void checkFile(Path file) throws IOException {
    if (Files.isDirectory(file)) {
      throw new FileSystemException(file.toString(), null, "is a folder; name a file");
    }
    checkFolder(PendingFile.parent(file));
  }

  /** The same for a folder and what is to be in it; it is not made. */
  public static void checkFolder(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      checkFolder(PendingFile.parent(folder));
      return;
    }
    if (!Files.isDirectory(folder)) {
      throw new FileSystemException(folder.toString(), null, "is a file, not a folder");
    }
    try {
      Path probe = Files.createTempFile(folder, ".perflow", ".tmp");
      try {
        Files.write(probe, new byte[PROBE]); // a full disk still takes empty files
      } finally {
        Files.delete(probe);
      }
    } catch (IOException e) {
      throw new FileSystemException(
          folder.toString(), null, "nothing can be written there: " + reason(e));
    }
  }

  static String explain(Path target, IOException e) {
    return "cannot write " + target + ": " + reason(e) + "; what was there before is untouched";
  }

  /** What the system said first: libraries wrap it in words of their own. */
  private static String reason(IOException e) {
    Throwable first = e;
    while (first.getCause() instanceof IOException cause) {
      first = cause;
    }
    String said = first.getMessage() == null ? first.toString() : first.getMessage();
    if (first instanceof FileSystemException system) { // its message begins with the path
      said = system.getReason() == null ? said : system.getReason();
    }
    if (first instanceof FileAlreadyExistsException taken) {
      return taken.getFile() + " is a file, not a folder";
    }
    if (first instanceof AccessDeniedException denied) {
      return "access to " + denied.getFile() + " is denied";
    }
    String lower = said.toLowerCase(Locale.ROOT);
    return Stream.of("no space left", "not enough space", "quota exceeded")
            .anyMatch(lower::contains)
        ? "the disk is full (" + said + "); free some space or choose another"
        : said;
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
