package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import javax.imageio.ImageIO;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.apache.commons.compress.archivers.tar.TarConstants;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ShardTest {
  @TempDir Path folder;
  private Path tar;

  @BeforeEach
  void setUp() {
    tar = folder.resolve("train-000.tar");
  }

  private static Sample sample(String key, String caption) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ImageIO.write(new BufferedImage(8, 8, BufferedImage.TYPE_INT_RGB), "png", out);
    var json = JsonNodeFactory.instance.objectNode().put("label", key);
    return new Sample("", key, out.toByteArray(), caption, json);
  }

  private void writeTwo() throws IOException {
    try (ShardWriter writer = new ShardWriter(tar)) {
      writer.write(sample("000001", "a cat"));
      writer.write(sample("emoji/été-" + "long".repeat(40), "ein grüner Kürbis 🎃"));
      writer.finish();
    }
  }

  @Test
  void roundTrips() throws IOException {
    writeTwo();
    List<Sample> samples = ShardReader.readAll(List.of(tar, tar));
    assertThat(samples).hasSize(4);
    assertThat(samples.get(0).shard()).isEqualTo("train-000.tar");
    assertThat(samples.get(0).key()).isEqualTo("000001");
    assertThat(samples.get(0).picture()).isEqualTo(sample("", "").picture());
    assertThat(samples.get(0).json().path("label").asText()).isEqualTo("000001");
    assertThat(samples.get(1).key()).isEqualTo("emoji/été-" + "long".repeat(40));
    assertThat(samples.get(3).caption()).isEqualTo("ein grüner Kürbis 🎃");
  }

  @Test
  void theSameSamplesGiveTheSameBytes() throws IOException {
    writeTwo();
    byte[] first = Files.readAllBytes(tar);
    String user = System.setProperty("user.name", "somebody");
    try {
      writeTwo();
    } finally {
      System.setProperty("user.name", user);
    }
    assertThat(Files.readAllBytes(tar)).isEqualTo(first);
  }

  @Test
  void appearsOnlyWhenFinished() throws IOException {
    try (ShardWriter writer = new ShardWriter(tar)) {
      writer.write(sample("1", "a cat"));
    }
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void refusesKeysThatCannotBeReadBack() throws IOException {
    try (ShardWriter writer = new ShardWriter(tar)) {
      writer.write(sample("1", "a cat"));
      assertThatThrownBy(() -> writer.write(sample("1", "a dog"))).hasMessageContaining("twice");
      assertThatThrownBy(() -> writer.write(sample("v1.5", ""))).hasMessageContaining("v1.5");
      Sample noPicture = new Sample("", "2", new byte[9], "", JsonNodeFactory.instance.nullNode());
      assertThatThrownBy(() -> writer.write(noPicture)).hasMessageContaining("'2' is no PNG");
    }
  }

  /** Members given as NAME=content. */
  private void tar(String... members) throws IOException {
    try (var out = new TarArchiveOutputStream(Files.newOutputStream(tar))) {
      for (String member : members) {
        int cut = member.indexOf('=');
        byte[] content = member.substring(cut + 1).getBytes(StandardCharsets.ISO_8859_1);
        TarArchiveEntry entry = new TarArchiveEntry(member.substring(0, cut));
        entry.setSize(content.length);
        out.putArchiveEntry(entry);
        out.write(content);
        out.closeArchiveEntry();
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "1.png=x 1.json={},sample '1' has no caption: expected 1.txt",
    "1.txt=x 2.png=x 2.txt=x,sample '1' has no picture: expected 1.png",
    "1.png=x 1.jpg=x 1.txt=x,1.jpg: a second picture for '1'",
    "1.png=x 1.txt=x 1.json={,member 1.json is no JSON",
    "1.png=x 1.txt=\u00e9,member 1.txt is no UTF-8 text",
    "README.txt=x 1.png=x 1.txt=x,sample 'README' has no picture: expected README.png",
    "1.png=x 2.png=x 1.txt=x 2.txt=x,tar --sort=name puts them together",
  })
  void namesTarAndMember(String members, String message) throws IOException {
    tar(members.split(" "));
    assertThatThrownBy(() -> ShardReader.readAll(List.of(tar)))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith(tar.toString())
        .hasMessageContaining(message);
  }

  @Test
  void readsOtherEndingsAndSkipsUnknownOnes() throws IOException {
    tar(
        "a/1.JPG=x",
        "a/1.cls=7",
        "a/1.txt= two words \n",
        "a/2.tags.txt=x",
        "a/2.webp=y",
        "a/2.txt=z");
    List<Sample> samples = ShardReader.readAll(List.of(tar));
    assertThat(samples).extracting(Sample::key).containsExactly("a/1", "a/2");
    assertThat(samples).extracting(Sample::caption).containsExactly("two words", "z");
    assertThat(samples.get(0).json().isEmpty()).isTrue();
  }

  @ParameterizedTest
  @CsvSource({"0", "511", "512", "600", "1024", "1536", "2100"})
  void noticesEveryTruncation(int length) throws IOException {
    writeTwo();
    Files.write(tar, Arrays.copyOf(Files.readAllBytes(tar), length));
    assertThatThrownBy(() -> ShardReader.readAll(List.of(tar)))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith(tar.toString())
        .hasMessageContaining("truncated");
  }

  @Test
  void namesTheMemberThatIsCutOffAmongZeros() throws IOException {
    try (var out = new TarArchiveOutputStream(Files.newOutputStream(tar))) {
      TarArchiveEntry entry = new TarArchiveEntry("1.png");
      entry.setSize(100_000);
      out.putArchiveEntry(entry);
      out.write(new byte[100_000]);
      out.closeArchiveEntry();
    }
    Files.write(
        tar, Arrays.copyOf(Files.readAllBytes(tar), 51_200)); // ends with zeros: looks whole
    assertThatThrownBy(() -> ShardReader.readAll(List.of(tar)))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("member 1.png is cut off");
  }

  @Test
  void tellsACompressedTar() throws IOException {
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(tar))) {
      out.write(new byte[2048]);
    }
    assertThatThrownBy(() -> ShardReader.readAll(List.of(tar)))
        .hasMessageContaining("compressed by gzip");
  }

  // ---------------------------------------------------------------- as other tools leave them

  private static Path shard(String name) {
    return Path.of("src/test/resources/shards", name);
  }

  @ParameterizedTest
  @CsvSource({"appledouble.tar, ._00000.png", "dsstore.tar, ./.DS_Store", "readme.tar, README"})
  void passesWhatIsNoSample(String name, String other) throws IOException {
    try (ShardReader reader = new ShardReader(shard(name))) {
      for (int i = 0; i < 3; i++) {
        assertThat(reader.next().orElseThrow().key()).endsWith("0000" + i);
      }
      assertThat(reader.next()).isEmpty();
      assertThat(reader.others()).contains(other);
    }
  }

  @Test
  void passesEveryNameWithoutAKeyAndGroupsWithoutAPicture() throws IOException {
    tar(
        "__meta__/info.json={}",
        "__MACOSX/._1.png=x",
        "stats.json={}",
        "a/.hidden=x",
        "a/LICENSE=x",
        "a/1.png=x",
        "a/1.txt=one",
        ".DS_Store=x",
        "a/2.cls=7",
        "b.d/3.png=x",
        "b.d/3.txt=three");
    try (ShardReader reader = new ShardReader(tar)) {
      assertThat(reader.next().orElseThrow().key()).isEqualTo("a/1");
      assertThat(reader.next().orElseThrow().key()).isEqualTo("b.d/3");
      assertThat(reader.next()).isEmpty();
      assertThat(reader.others()).hasSize(7).contains("stats.json", "a/2.cls", "a/.hidden");
    }
  }

  @Test
  void readsTextsWithAByteOrderMark() throws IOException {
    String mark = "\u00ef\u00bb\u00bf"; // UTF-8's, a byte each
    tar("1.png=x", "1.txt=" + mark + "a cat", "1.json=" + mark + "{\"label\": 3}");
    Sample sample = ShardReader.readAll(List.of(tar)).get(0);
    assertThat(sample.caption()).isEqualTo("a cat");
    assertThat(sample.json().path("label").asInt()).isEqualTo(3);
  }

  @Test
  void anEmptyShardHasNoSamples() throws IOException {
    tar();
    assertThat(ShardReader.readAll(List.of(tar))).isEmpty();
  }

  @Test
  void namesALink() throws IOException {
    try (var out = new TarArchiveOutputStream(Files.newOutputStream(tar))) {
      var entry = new TarArchiveEntry("2.png", TarConstants.LF_LINK);
      entry.setLinkName("1.png");
      out.putArchiveEntry(entry);
      out.closeArchiveEntry();
    }
    assertThatThrownBy(() -> ShardReader.readAll(List.of(tar)))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("member 2.png is a link to 1.png");
  }

  @Test
  void tellsThatTarsWerePutOneAfterAnother() throws IOException {
    writeTwo();
    byte[] one = Files.readAllBytes(tar);
    Files.write(tar, one, StandardOpenOption.APPEND);
    assertThatThrownBy(() -> ShardReader.readAll(List.of(tar)))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("data behind its end");
  }

  // ---------------------------------------------------------------- made to break a reader

  @ParameterizedTest
  @ValueSource(strings = {"sparse-gnu.tar", "sparse-pax.tar"}) // 8 and 2 GiB in 4 kB
  void refusesSparseMembers(String name) {
    assertThatThrownBy(() -> ShardReader.readAll(List.of(shard(name))))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining(name + ": member a.png is sparse");
  }

  /** 5,000 headers in a row, each of which the library reads by calling itself. */
  @ParameterizedTest
  @CsvSource({"x, 11 path=ab", "L, a.txt", "g, 11 path=ab"})
  void refusesAChainOfHeaders(char kind, String content) throws IOException {
    try (OutputStream out = Files.newOutputStream(tar)) {
      for (int i = 0; i < 5000; i++) {
        byte[] text = (content + (kind == 'L' ? "\0" : "\n")).getBytes(StandardCharsets.UTF_8);
        TarArchiveEntry entry = new TarArchiveEntry("p", (byte) kind);
        entry.setSize(text.length);
        byte[] header = new byte[512];
        entry.writeEntryHeader(header);
        out.write(header);
        out.write(Arrays.copyOf(text, 512));
      }
      out.write(new byte[1024]);
    }
    assertThatThrownBy(() -> ShardReader.readAll(List.of(tar)))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith(tar + ": damaged or truncated at its first member")
        .hasMessageContaining("headers in a row");
  }

  @Test
  void refusesATextThatIsNoCaption() throws IOException {
    tar("1.png=x", "1.txt=" + "x".repeat(20 << 20));
    assertThatThrownBy(() -> ShardReader.readAll(List.of(tar)))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("member 1.txt has 20971520 bytes, expected at most");
  }
}
