package org.perflow.importing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.zip.GZIPOutputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.apache.parquet.bytes.BytesInput;
import org.apache.parquet.compression.CompressionCodecFactory;
import org.apache.parquet.conf.PlainParquetConfiguration;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroupFactory;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.io.LocalOutputFile;
import org.apache.parquet.io.api.Binary;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.FormatException;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.io.Shards;

/** Pictures in files of many: Parquet and the shards of others. */
class ArchiveSourcesTest {
  private static final ImportOptions SMALL =
      ImportOptions.DEFAULTS.withSize(16).withHeldOut(0).withShardSize(3);

  /** As the hub's datasets library writes a column of type Image. */
  private static final MessageType HUB =
      MessageTypeParser.parseMessageType(
          """
message schema {
  optional group image { optional binary bytes; optional binary path (STRING); }
  optional binary text (STRING);
  optional group sentences (LIST) { repeated group list { optional binary element (STRING); } }
  optional int64 width;
}
""");

  @TempDir private Path temp;

  private Map<String, String> imported(Path source, ImportOptions options) throws IOException {
    Path out = temp.resolve("out" + options.hashCode() + source.getFileName());
    DataImport.of(source).options(options).out(out).run();
    List<Sample> samples = ShardReader.readAll(Shards.train(List.of(out)));
    assertThat(samples).allSatisfy(sample -> assertThat(sample.picture()).isNotEmpty());
    return samples.stream()
        .collect(Collectors.toMap(s -> s.json().path("source").asText(), Sample::caption));
  }

  private static byte[] png(int seed) throws IOException {
    return PhotoFolder.encoded(PhotoFolder.picture(20, 20, seed), "png");
  }

  // ---------------------------------------------------------------- Parquet

  /** The library's own needs classes of Hadoop. */
  private static final CompressionCodecFactory GZIP =
      new CompressionCodecFactory() {
        @Override
        public BytesInputCompressor getCompressor(CompressionCodecName codec) {
          return new BytesInputCompressor() {
            @Override
            public BytesInput compress(BytesInput plain) throws IOException {
              ByteArrayOutputStream packed = new ByteArrayOutputStream();
              try (GZIPOutputStream out = new GZIPOutputStream(packed)) {
                plain.writeAllTo(out);
              }
              return BytesInput.from(packed.toByteArray());
            }

            @Override
            public CompressionCodecName getCodecName() {
              return CompressionCodecName.GZIP;
            }

            @Override
            public void release() {}
          };
        }

        @Override
        public BytesInputDecompressor getDecompressor(CompressionCodecName codec) {
          throw new UnsupportedOperationException();
        }

        @Override
        public void release() {}
      };

  private Path parquet(String name, CompressionCodecName codec, int rows) throws IOException {
    Path file = temp.resolve(name);
    try (ParquetWriter<Group> writer =
        ExampleParquetWriter.builder(new LocalOutputFile(file))
            .withConf(new PlainParquetConfiguration())
            .withType(HUB)
            .withRowGroupSize(2000L) // a few rows
            .withCompressionCodec(codec)
            .withCodecFactory(codec == CompressionCodecName.GZIP ? GZIP : null)
            .build()) {
      for (int i = 0; i < rows; i++) {
        Group row = new SimpleGroupFactory(HUB).newGroup();
        if (i != 4) {
          row.addGroup("image")
              .append("bytes", Binary.fromConstantByteArray(png(i)))
              .append("path", "red_apple_%d.png".formatted(i));
        }
        if (i != 2) {
          row.append("text", "caption %d – ä".formatted(i));
        }
        Group list = row.addGroup("sentences");
        for (int k = 0; k < i % 3; k++) {
          list.addGroup("list").append("element", "sentence %d of %d".formatted(k, i));
        }
        row.append("width", 20L);
        writer.write(row);
      }
    }
    return file;
  }

  @Test
  void readsTheHubsParquetFiles() throws IOException {
    for (CompressionCodecName codec :
        List.of(
            CompressionCodecName.SNAPPY,
            CompressionCodecName.ZSTD,
            CompressionCodecName.GZIP,
            CompressionCodecName.LZ4_RAW)) {
      Path file = parquet(codec + ".parquet", codec, 12);
      Map<String, String> captions = imported(file, SMALL);
      assertThat(captions)
          .hasSize(10)
          .containsEntry(codec + ".parquet: row 11", "caption 11 – ä")
          .doesNotContainKeys(codec + ".parquet: row 2", codec + ".parquet: row 4");
    }
  }

  @Test
  void eachPictureHasItsOwnCaption() throws IOException {
    Path folder = Files.createDirectory(temp.resolve("data"));
    Files.move(parquet("a", CompressionCodecName.SNAPPY, 12), folder.resolve("a.parquet"));
    Files.move(parquet("b", CompressionCodecName.SNAPPY, 3), folder.resolve("b.parquet"));
    Path out = temp.resolve("out");
    // held-out pictures are read again from the beginning
    DataImport.of(folder)
        .options(SMALL.withSize(24).withEnlarge(true).withHeldOut(0.2))
        .out(out)
        .run();
    Path alone = temp.resolve("alone");
    PhotoFolder photos = new PhotoFolder(temp.resolve("photos"));
    for (int i = 0; i < 12; i++) {
      photos.put("p%02d.png".formatted(i), png(i)).put("p%02d.txt".formatted(i), "caption " + i);
    }
    DataImport.of(photos.path()).options(SMALL.withSize(24).withEnlarge(true)).out(alone).run();
    Map<String, byte[]> wanted =
        ShardReader.readAll(Shards.train(List.of(alone))).stream()
            .collect(Collectors.toMap(Sample::caption, Sample::picture));
    List<Sample> got = ShardReader.readAll(Shards.train(List.of(out)));
    got.addAll(ShardReader.readAll(Shards.test(List.of(out))));
    assertThat(got).hasSize(12);
    for (Sample sample : got) {
      assertThat(sample.picture()).isEqualTo(wanted.get(sample.caption().replace(" – ä", "")));
    }
  }

  @Test
  void columnsAreNamedWhereTheyAreNotUsual() throws IOException {
    Path file = parquet("x.parquet", CompressionCodecName.UNCOMPRESSED, 6);
    assertThat(imported(file, SMALL.withCaptionKey("sentences")))
        .isEqualTo(
            Map.of(
                "x.parquet: row 1", "sentence 0 of 1",
                "x.parquet: row 2", "sentence 0 of 2",
                "x.parquet: row 5", "sentence 0 of 5"));
    assertThat(imported(file, SMALL.withCaptions(ImportOptions.Captions.FILENAME)))
        .containsEntry("x.parquet: row 2", "red apple 2");
    assertThat(imported(file, SMALL.withCaption("a picture"))).hasSize(5);
    assertThatThrownBy(() -> imported(file, SMALL.withCaptionKey("width")))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("neither bytes nor text");
    assertThatThrownBy(() -> imported(file, SMALL.withPictureKey("imagee")))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("did you mean 'image'?");
  }

  @Test
  void refusesWhatIsNoParquetFile() throws IOException {
    Path file = Files.writeString(temp.resolve("x.parquet"), "no parquet");
    assertThatThrownBy(() -> imported(file, SMALL))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("x.parquet: no readable Parquet file");
    Path whole = parquet("y.parquet", CompressionCodecName.SNAPPY, 12);
    byte[] bytes = Files.readAllBytes(whole);
    java.util.Arrays.fill(bytes, 4, bytes.length / 2, (byte) 0x5A);
    Files.write(whole, bytes);
    assertThatThrownBy(() -> imported(whole, SMALL)).isInstanceOf(FormatException.class);
  }

  // ---------------------------------------------------------------- shards of others

  private Path tar(String name, Map<String, byte[]> members) throws IOException {
    Path file = temp.resolve(name);
    try (var out = new TarArchiveOutputStream(Files.newOutputStream(file))) {
      for (String member : members.keySet().stream().sorted().toList()) {
        TarArchiveEntry entry = new TarArchiveEntry(member);
        entry.setSize(members.get(member).length);
        out.putArchiveEntry(entry);
        out.write(members.get(member));
        out.closeArchiveEntry();
      }
    }
    return file;
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  @Test
  void mapsTheKeysOfOthersShards() throws IOException {
    Path file =
        tar(
            "laion.tar",
            Map.of(
                "000/1.jpg", png(1),
                "000/1.json", utf8("{\"caption\": \"from JSON\"}"),
                "000/1.txt", utf8("from text"),
                "000/2.jpg", png(2),
                "000/2.json", utf8("{\"url\": null}"),
                "000/3.txt", utf8("without a picture"),
                "000/4.img", png(4),
                "000/4.txt", utf8("of another ending")));
    assertThat(imported(file, SMALL)).isEqualTo(Map.of("laion.tar: 000/1", "from text"));
    assertThat(imported(file, SMALL.withCaptionKey("json.caption")))
        .isEqualTo(Map.of("laion.tar: 000/1", "from JSON"));
    assertThat(imported(file, SMALL.withPictureKey("img")))
        .isEqualTo(Map.of("laion.tar: 000/4", "of another ending"));
  }

  @Test
  void tellsWhichSamplesLackWhat() throws IOException {
    Path file =
        tar(
            "x.tar",
            Map.of(
                "1.jpg", png(1),
                "1.txt", utf8("whole"),
                "2.jpg", png(2),
                "3.txt", utf8("no picture"),
                "4.jpg", utf8("broken"),
                "4.txt", utf8("broken")));
    Imported imported = DataImport.of(file).options(SMALL).out(temp.resolve("out")).run();
    assertThat(imported.train()).isEqualTo(1);
    assertThat(imported.leftOut())
        .extracting(LeftOut::name)
        .containsExactly("x.tar: 2", "x.tar: 3", "x.tar: 4");
    assertThat(imported.leftOut().get(0).why()).isEqualTo(LeftOut.Why.NO_CAPTION);
  }
}
