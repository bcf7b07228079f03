package org.perflow.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** Shards by name: files, or folders that stand for some of their files. */
public final class Shards {
  private Shards() {}

  /** Those to train on: files as they are, of a folder its {@code train-*.tar}. */
  public static List<Path> train(List<Path> named) throws IOException {
    return find(named, "train-*.tar");
  }

  /** Those held out from training: files as they are, of a folder its {@code test*.tar}. */
  public static List<Path> test(List<Path> named) throws IOException {
    return find(named, "test*.tar");
  }

  private static List<Path> find(List<Path> named, String glob) throws IOException {
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
          files
              .filter(file -> matcher.matches(file.getFileName()))
              .filter(file -> !file.getFileName().toString().startsWith(".")) // macOS' "._x.tar"
              .sorted()
              .toList();
      if (shards.isEmpty()) {
        throw new FormatException(folder + ": no " + glob + " in there");
      }
      return shards;
    }
  }
}
