package org.perflow.importing;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.importing.LeftOut.Why;
import org.perflow.io.FormatException;

/**
 * Parquet files with a column of encoded pictures, as the hub's data sets have them: bytes, or a
 * group of {@code bytes} and {@code path}; and one of captions, of which a list's first counts.
 */
final class ParquetSource implements Source {
  private final List<Path> files;
  private final int repeats;
  private final ImportOptions options;
  private @Nullable Place place;

  /** Where pictures are being read: the one of row {@code next} comes next. */
  private static final class Place {
    private final Path file;
    private final ParquetColumn pictures;
    private long next;

    Place(Path file, ParquetColumn pictures) {
      this.file = file;
      this.pictures = pictures;
    }
  }

  ParquetSource(List<Path> files, int repeats, ImportOptions options) {
    this.files = files;
    this.repeats = repeats;
    this.options = options;
  }

  @Override
  public String name() {
    return String.valueOf(files.get(0).getFileName());
  }

  @Override
  public void list(Listing listing) throws IOException {
    for (Path file : files) {
      String stamp = FolderSource.stamp(file);
      pictures(file).close(); // which refuses a column that is none
      try (ParquetColumn captions = captions(file)) {
        for (long row = 0; row < captions.rows(); row++) {
          String name = file.getFileName() + ": row " + row;
          String caption = caption(captions.next());
          long wanted = row;
          if (caption.isEmpty()) {
            listing.leaveOut(name, Why.NO_CAPTION, "its caption is empty");
          } else {
            listing.add(new Entry(name, caption, repeats, stamp, () -> picture(file, wanted)));
          }
        }
      }
    }
  }

  /** The column that captions are made of. */
  private ParquetColumn captions(Path file) throws IOException {
    List<String> columns = ParquetColumn.names(file);
    if (options.ownCaptions()) {
      return ParquetColumn.open(file, Columns.captions(file, columns, options.captionKey()), "");
    }
    return ParquetColumn.open(
        file, Columns.pictures(file, columns, options.pictureKey()), "path"); // for its name
  }

  private String caption(byte @Nullable [] value) {
    if (options.caption() != null) {
      return options.caption();
    }
    String text = value == null ? "" : new String(value, StandardCharsets.UTF_8);
    return options.captions() == ImportOptions.Captions.FILENAME && !text.isEmpty()
        ? FolderSource.fromName(Path.of(text))
        : FolderCaptions.oneLine(text);
  }

  private ParquetColumn pictures(Path file) throws IOException {
    String column = Columns.pictures(file, ParquetColumn.names(file), options.pictureKey());
    return ParquetColumn.open(file, column, "bytes");
  }

  private byte[] picture(Path file, long row) throws IOException {
    if (place == null || !place.file.equals(file) || place.next > row) {
      close();
      place = new Place(file, pictures(file));
    }
    place.pictures.skip(row - place.next);
    place.next = row + 1;
    byte[] picture = place.pictures.next();
    if (picture == null) {
      throw new FormatException("there is nothing in its column of pictures");
    }
    return picture;
  }

  @Override
  public void close() throws IOException {
    if (place != null) {
      place.pictures.close();
      place = null;
    }
  }
}
