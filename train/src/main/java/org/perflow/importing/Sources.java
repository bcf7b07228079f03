package org.perflow.importing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Locale;
import org.perflow.io.FormatException;

/** Tells what kind of source a path is. */
final class Sources {
  private Sources() {}

  /** Whether training reads no shards there, and an import could make some. */
  static boolean isToBeImported(Path path) throws IOException {
    if (!Files.isDirectory(path)) {
      return Files.exists(path) && isTable(path);
    }
    try (var shards = Files.newDirectoryStream(path, "train-*.tar")) {
      return !shards.iterator().hasNext() && FolderSource.hasPictures(path);
    }
  }

  private static boolean isTable(Path path) {
    String name = String.valueOf(path.getFileName()).toLowerCase(Locale.ROOT);
    return name.endsWith(".csv") || name.endsWith(".tsv");
  }

  static Source of(Path path, int repeats, ImportOptions options) throws IOException {
    if (Files.isDirectory(path)) {
      return new FolderSource(path, repeats, options);
    }
    if (!Files.exists(path)) {
      throw new NoSuchFileException(
          path.toString(), null, "there is no such folder of pictures, shard or table");
    }
    if (isTable(path)) {
      return new TableSource(path, repeats, options);
    }
    throw new FormatException(
        path + " is no source of pictures: expected a folder, or a .csv or .tsv file");
  }
}
