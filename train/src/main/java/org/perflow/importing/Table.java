package org.perflow.importing;

import de.siegmar.fastcsv.reader.CsvParseException;
import de.siegmar.fastcsv.reader.CsvReader;
import de.siegmar.fastcsv.reader.NamedCsvRecord;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.perflow.io.FormatException;

/** A table of files and captions with a line of headings: CSV, or with tabs where it ends so. */
final class Table {
  /**
   * A line of it.
   *
   * @param picture name of a file
   * @param caption empty where it was not asked for
   */
  record Row(String picture, String caption) {}

  private Table() {}

  /**
   * All of {@code file}.
   *
   * @param where it is, for messages
   * @param captions whether it must have a column of captions
   * @throws FormatException where it is damaged, or has not the columns
   */
  static List<Row> read(Path file, String where, ImportOptions options, boolean captions)
      throws IOException {
    boolean tabs = file.toString().toLowerCase(Locale.ROOT).endsWith(".tsv");
    List<Row> rows = new ArrayList<>();
    try (CsvReader<NamedCsvRecord> reader =
        CsvReader.builder()
            .fieldSeparator(tabs ? '\t' : ',')
            .detectBomHeader(true)
            .ofNamedCsvRecord(file)) {
      String pictureColumn = "";
      String captionColumn = "";
      for (NamedCsvRecord line : reader) {
        if (rows.isEmpty()) {
          List<String> header = line.getHeader();
          pictureColumn = Columns.pictures(where, header, options.pictureKey());
          captionColumn =
              captions ? Columns.captions(where, header, options.captionKey()) : pictureColumn;
        }
        rows.add(
            new Row(line.getField(pictureColumn), captions ? line.getField(captionColumn) : ""));
      }
    } catch (CsvParseException e) {
      String reason = e.getCause() == null ? e.getMessage() : e.getCause().getMessage();
      throw new FormatException(where + ": no readable table (" + reason + ")", e);
    }
    return rows;
  }
}
