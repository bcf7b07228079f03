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
import java.util.Arrays;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import javax.imageio.ImageIO;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

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
    "README=x,sample 'README' has no picture",
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
}
