package org.perflow.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Keeps what files name inside the folder that it is meant for. Anybody may have written a model's
 * index, a checkpoint's header or the links in a folder, so all names that come from files become
 * paths here and nowhere else.
 */
public final class Inside {
  private static final Pattern PLAIN = Pattern.compile("[^/\\\\:\\p{Cntrl}]{1,255}");
  private static final int MOST = 10_000;

  private Inside() {}

  /**
   * The file or folder {@code name} right in {@code folder}.
   *
   * @param source the file that names it, for messages
   * @throws FormatException where it is not one plain name, such as {@code ../x} or {@code /x}
   */
  public static Path child(Path folder, String name, Object source) throws FormatException {
    if (!PLAIN.matcher(name).matches() || name.equals(".") || name.equals("..")) {
      throw new FormatException(
          "%s: '%s' is no name of a file or folder beside it".formatted(source, name));
    }
    return folder.resolve(name);
  }

  /** The same of plain names with slashes between them, such as {@code unet/config.json}. */
  public static Path path(Path folder, String names, Object source) throws FormatException {
    Path path = folder;
    for (String name : names.split("/", -1)) {
      path = child(path, name, source);
    }
    return path;
  }

  /**
   * {@code path}, which exists, when no link on its way leaves {@code folder}. The hub's cache,
   * whose snapshots link to the blobs beside them, counts as one folder.
   *
   * @throws FormatException naming the link and where it leads
   */
  public static Path of(Path folder, Path path) throws IOException {
    Path root = folder.toRealPath();
    Path real;
    try {
      real = path.toRealPath();
    } catch (NoSuchFileException e) {
      throw new FormatException(path + " is a link that leads nowhere", e);
    } catch (IOException e) { // links in a circle
      throw new FormatException(path + " is a link that cannot be followed: " + e.getMessage(), e);
    }
    if (!real.startsWith(root) && !isCached(root, real)) {
      throw new FormatException(
          "%s is a link that leaves %s, to %s: put what is meant there itself"
              .formatted(path, folder, real));
    }
    return path;
  }

  /**
   * Whether {@code root} is a snapshot of the hub's cache, or within one, and that is its content.
   */
  private static boolean isCached(Path root, Path content) {
    Path above = root.getParent();
    while (above != null && !above.endsWith("snapshots")) {
      above = above.getParent();
    }
    return above != null && content.startsWith(above.resolveSibling("blobs"));
  }

  /**
   * All that is in {@code part} of {@code folder}, through links, folders before their content.
   *
   * @throws FormatException naming a link that leaves {@code folder} or goes in a circle
   */
  public static List<Path> tree(Path folder, Path part) throws IOException {
    List<Path> found = new ArrayList<>();
    add(folder, part, new ArrayDeque<>(), found);
    return found;
  }

  private static void add(Path folder, Path path, Deque<Path> around, List<Path> found)
      throws IOException {
    Path real = of(folder, path).toRealPath();
    if (around.contains(real)) {
      throw new FormatException(path + " is a link that goes in a circle, to " + real);
    }
    if (found.size() == MOST) {
      throw new FormatException(folder + " holds over " + MOST + " files, as no model does");
    }
    found.add(path);
    if (Files.isDirectory(path)) {
      around.push(real);
      try (Stream<Path> content = Files.list(path)) {
        for (Path child : content.sorted().toList()) {
          add(folder, child, around, found);
        }
      }
      around.pop();
    }
  }
}
