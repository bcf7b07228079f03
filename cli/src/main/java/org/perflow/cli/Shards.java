package org.perflow.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.perflow.io.FormatException;

/** Shards named on the command line: files, or folders that stand for some of their files. */
final class Shards {
  private Shards() {}

  /** Files as they are; of a folder those whose name matches {@code glob}, by name. */
  static List<Path> find(List<Path> named, String glob) throws IOException {
    List<Path> found = new ArrayList<>();
    for (Path path : named) {
      if (Files.isRegularFile(path)) {
        found.add(path);
      } else if (Files.isDirectory(path)) {
        found.addAll(inFolder(path, glob));
      } else {
        throw new NoSuchFileException(
            path.toString(), null, "there is no such shard or folder of shards");
      }
    }
    return found;
  }

  private static List<Path> inFolder(Path folder, String glob) throws IOException {
    var matcher = folder.getFileSystem().getPathMatcher("glob:" + glob);
    try (Stream<Path> files = Files.list(folder)) {
      List<Path> shards =
          files.filter(file -> matcher.matches(file.getFileName())).sorted().toList();
      if (shards.isEmpty()) {
        throw new FormatException(folder + ": no " + glob + " in there");
      }
      return shards;
    }
  }
}
