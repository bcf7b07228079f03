package org.perflow.importing;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.apache.parquet.ParquetReadOptions;
import org.apache.parquet.column.ColumnDescriptor;
import org.apache.parquet.column.ColumnReader;
import org.apache.parquet.column.impl.ColumnReadStoreImpl;
import org.apache.parquet.column.page.PageReadStore;
import org.apache.parquet.conf.PlainParquetConfiguration;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.metadata.BlockMetaData;
import org.apache.parquet.hadoop.metadata.ColumnChunkMetaData;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.io.LocalInputFile;
import org.apache.parquet.io.api.Converter;
import org.apache.parquet.io.api.GroupConverter;
import org.apache.parquet.io.api.PrimitiveConverter;
import org.apache.parquet.schema.GroupType;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.PrimitiveType;
import org.apache.parquet.schema.Type;
import org.jspecify.annotations.Nullable;
import org.perflow.io.FormatException;
import org.perflow.io.Reading;

/**
 * One column of bytes or text in a Parquet file, row after row; of a list in a row the first value.
 * Other columns stay unread. One thread.
 */
final class ParquetColumn implements AutoCloseable {
  /** Others need classes of Hadoop. */
  private static final List<CompressionCodecName> CODECS =
      List.of(
          CompressionCodecName.UNCOMPRESSED,
          CompressionCodecName.SNAPPY,
          CompressionCodecName.ZSTD,
          CompressionCodecName.GZIP,
          CompressionCodecName.LZ4_RAW);

  private final Path file;
  private final ParquetFileReader reader;
  private final MessageType schema; // of this column alone
  private final ColumnDescriptor column;
  private @Nullable ColumnReader values;
  private long left; // values of the row group

  private ParquetColumn(
      Path file, ParquetFileReader reader, MessageType schema, ColumnDescriptor column) {
    this.file = file;
    this.reader = reader;
    this.schema = schema;
    this.column = column;
  }

  /** Names of the columns. */
  static List<String> names(Path file) throws IOException {
    try (ParquetFileReader reader = Reading.of(file, () -> reader(file))) {
      return schema(reader).getFields().stream().map(Type::getName).toList();
    }
  }

  /**
   * Opens a column.
   *
   * @param inner which part of it where it is a group; empty for the first
   * @throws FormatException where it holds neither bytes nor text
   */
  static ParquetColumn open(Path file, String name, String inner) throws IOException {
    ParquetFileReader reader = Reading.of(file, () -> reader(file));
    MessageType all = schema(reader);
    List<ColumnDescriptor> parts =
        all.getColumns().stream().filter(c -> c.getPath()[0].equals(name)).toList();
    ColumnDescriptor column =
        parts.stream()
            .filter(c -> c.getPath().length == 1 || inner.isEmpty() || last(c).equals(inner))
            .findFirst()
            .orElse(null);
    if (column == null
        || column.getPrimitiveType().getPrimitiveTypeName()
            != PrimitiveType.PrimitiveTypeName.BINARY) {
      reader.close();
      throw new FormatException(
          "%s: column %s holds neither bytes nor text: %s"
              .formatted(file, name, all.getType(name)));
    }
    checkCodecs(file, reader);
    MessageType schema = new MessageType(all.getName(), all.getType(name));
    reader.setRequestedSchema(schema);
    return new ParquetColumn(file, reader, schema, column);
  }

  private static void checkCodecs(Path file, ParquetFileReader reader) throws IOException {
    for (BlockMetaData group : reader.getFooter().getBlocks()) {
      for (ColumnChunkMetaData chunk : group.getColumns()) {
        if (!CODECS.contains(chunk.getCodec())) {
          reader.close();
          throw new FormatException(
              "%s: it is compressed by %s, expected one of %s; write it anew"
                  .formatted(file, chunk.getCodec(), CODECS));
        }
      }
    }
  }

  private static String last(ColumnDescriptor column) {
    return column.getPath()[column.getPath().length - 1];
  }

  private static ParquetFileReader reader(Path file) throws IOException {
    try {
      ParquetReadOptions.Builder options =
          ParquetReadOptions.builder(new PlainParquetConfiguration());
      options.withCodecFactory(new GzipPages(options.build().getCodecFactory()));
      return ParquetFileReader.open(new LocalInputFile(file), options.build());
    } catch (RuntimeException e) { // what is no Parquet file at all
      throw new FormatException(file + ": no readable Parquet file (" + e.getMessage() + ")", e);
    }
  }

  private static MessageType schema(ParquetFileReader reader) {
    return reader.getFooter().getFileMetaData().getSchema();
  }

  /** Rows of the file. */
  long rows() {
    return reader.getRecordCount();
  }

  /** The value of the next row; null where it has none. */
  byte @Nullable [] next() throws IOException {
    return Reading.of(
        file,
        () -> {
          try {
            ColumnReader at = values();
            byte[] value = isThere(at) ? at.getBinary().getBytes() : null;
            toNextRow(at);
            return value;
          } catch (RuntimeException e) { // the library throws anything on damaged pages
            throw new FormatException(file + ": damaged Parquet file (" + e.getMessage() + ")", e);
          }
        });
  }

  /** Passes over rows. */
  void skip(long rows) throws IOException {
    for (long i = 0; i < rows; i++) {
      next();
    }
  }

  private boolean isThere(ColumnReader at) {
    return at.getCurrentDefinitionLevel() == column.getMaxDefinitionLevel();
  }

  /** Where the row's first value is. */
  private ColumnReader values() throws IOException {
    ColumnReader at = values;
    while (at == null || left == 0) {
      PageReadStore group = reader.readNextRowGroup();
      if (group == null) {
        throw new FormatException(file + ": it ends before its last row");
      }
      at =
          new ColumnReadStoreImpl(
                  group,
                  new Nothing(schema),
                  schema,
                  reader.getFooter().getFileMetaData().getCreatedBy())
              .getColumnReader(column);
      left = group.getPageReader(column).getTotalValueCount();
      values = at;
    }
    return at;
  }

  private void toNextRow(ColumnReader at) {
    at.consume();
    left--;
    while (left > 0 && at.getCurrentRepetitionLevel() > 0) { // more of a list
      if (isThere(at)) {
        at.skip();
      }
      at.consume();
      left--;
    }
  }

  @Override
  public void close() throws IOException {
    reader.close();
  }

  /** What the library would make records with; columns are read by themselves here. */
  private static final class Nothing extends GroupConverter {
    private final GroupType type;

    Nothing(GroupType type) {
      this.type = type;
    }

    @Override
    public Converter getConverter(int field) {
      Type inner = type.getType(field);
      return inner.isPrimitive() ? new PrimitiveConverter() {} : new Nothing(inner.asGroupType());
    }

    @Override
    public void start() {}

    @Override
    public void end() {}
  }
}
