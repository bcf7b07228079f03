package org.perflow.importing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.perflow.importing.LeftOut.Why;

/**
 * A CSV file of pictures wherever they are: absolute, or relative to the file. Who names the file
 * trusts what it names.
 */
final class TableSource implements Source {
  private final Path file;
  private final int repeats;
  private final ImportOptions options;

  TableSource(Path file, int repeats, ImportOptions options) {
    this.file = file;
    this.repeats = repeats;
    this.options = options;
  }

  @Override
  public String name() {
    return String.valueOf(file.getFileName());
  }

  @Override
  public void list(Listing listing) throws IOException {
    for (Table.Row row : Table.read(file, file.toString(), options, options.ownCaptions())) {
      Path picture = file.resolveSibling(row.picture());
      String name = name() + ": " + row.picture();
      String caption = FolderCaptions.oneLine(caption(row, picture));
      if (!Files.isRegularFile(picture)) {
        listing.leaveOut(name, Why.UNREADABLE, "not there");
      } else if (caption.isEmpty()) {
        listing.leaveOut(name, Why.NO_CAPTION, "its caption in " + name() + " is empty");
      } else {
        listing.add(
            new Entry(
                name,
                caption,
                repeats,
                FolderSource.stamp(picture),
                () -> Files.readAllBytes(picture)));
      }
    }
  }

  private String caption(Table.Row row, Path picture) {
    if (options.caption() != null) {
      return options.caption();
    }
    return options.captions() == ImportOptions.Captions.FILENAME
        ? FolderSource.fromName(picture)
        : row.caption();
  }
}
