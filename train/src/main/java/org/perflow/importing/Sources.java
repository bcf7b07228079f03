package org.perflow.importing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.perflow.io.FormatException;

/** Tells what kind of source a path is. */
final class Sources {
  private Sources() {}

  /** Whether training reads no shards there, and an import could make some. */
  static boolean isToBeImported(Path path) throws IOException {
    if (!Files.isDirectory(path)) {
      return Files.exists(path) && (isTable(path) || ends(path, ".parquet"));
    }
    return within(path, "train-*.tar").isEmpty()
        && (FolderSource.hasPictures(path) || !within(path, "*.parquet").isEmpty());
  }

  private static boolean isTable(Path path) {
    return ends(path, ".csv") || ends(path, ".tsv");
  }

  private static boolean ends(Path path, String ending) {
    return path.toString().toLowerCase(Locale.ROOT).endsWith(ending);
  }

  static Source of(Path path, int repeats, ImportOptions options) throws IOException {
    if (Files.isDirectory(path)) {
      List<Path> parquet = within(path, "*.parquet");
      List<Path> tars = within(path, "*.tar");
      if (FolderSource.hasPictures(path) || parquet.isEmpty() && tars.isEmpty()) {
        return new FolderSource(path, repeats, options);
      }
      return parquet.isEmpty()
          ? new ShardSource(tars, repeats, options)
          : new ParquetSource(parquet, repeats, options);
    }
    if (!Files.exists(path)) {
      throw new NoSuchFileException(
          path.toString(), null, "there is no such folder of pictures, shard or table");
    }
    if (isTable(path)) {
      return new TableSource(path, repeats, options);
    } else if (ends(path, ".parquet")) {
      return new ParquetSource(List.of(path), repeats, options);
    } else if (ends(path, ".tar")) {
      return new ShardSource(List.of(path), repeats, options);
    }
    throw new FormatException(
        path
            + " is no source of pictures: expected a folder, or a .parquet, .tar, .csv or .tsv file");
  }

  private static List<Path> within(Path folder, String glob) throws IOException {
    List<Path> found = new ArrayList<>();
    try (var files = Files.newDirectoryStream(folder, glob)) {
      for (Path file : files) {
        if (!String.valueOf(file.getFileName()).startsWith(".")) { // macOS' "._x.tar"
          found.add(file);
        }
      }
    }
    return found.stream().sorted().toList();
  }
}
