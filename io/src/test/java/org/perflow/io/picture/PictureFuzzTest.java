package org.perflow.io.picture;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.io.Fuzzing;
import org.perflow.io.Images;

/** Damaged pictures of all kinds are refused or read, soon. */
class PictureFuzzTest {
  private static final Path FOLDER = Path.of("src/test/resources/pictures/pillow");

  private static List<byte[]> pictures(String ending) throws IOException {
    List<byte[]> pictures = new ArrayList<>();
    try (Stream<Path> files = Files.list(FOLDER)) {
      for (Path file : files.filter(path -> path.toString().endsWith(ending)).sorted().toList()) {
        pictures.add(Files.readAllBytes(file));
      }
    }
    return pictures;
  }

  private static int run(String ending, int count) throws IOException {
    return new Fuzzing(pictures(ending), PictureFuzzTest::withSums, 1)
        .run(count, file -> Images.decode(file, ending));
  }

  @ParameterizedTest
  @ValueSource(strings = {"png", "jpg", "webp", "gif", "bmp", "tif"})
  void damagedPicturesAreRefusedOrRead(String ending) throws IOException {
    assertThat(run(ending, 150)).isBetween(1, 149);
  }

  @Tag("slow")
  @ParameterizedTest
  @ValueSource(strings = {"png", "jpg", "webp", "gif", "bmp", "tif"})
  void manyDamagedPicturesAreRefusedOrRead(String ending) throws IOException {
    assertThat(run(ending, 10_000)).isPositive();
  }

  private static int runText(int count) throws IOException {
    return new Fuzzing(List.of(texts()), PictureFuzzTest::withSums, 2)
        .run(count, file -> assertThat(PngText.read(file)).doesNotContainKey(null));
  }

  @Test
  void damagedTextsAreRefusedOrRead() throws IOException {
    assertThat(runText(500)).isBetween(1, 499);
  }

  @Tag("slow")
  @Test
  void manyDamagedTextsAreRefusedOrRead() throws IOException {
    assertThat(runText(50_000)).isPositive();
  }

  /** A PNG with a text of each kind, one of them compressed. */
  private static byte[] texts() throws IOException {
    byte[] png = Files.readAllBytes(FOLDER.resolve("turned-xmp-packed.png"));
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(png, 0, 33); // signature, IHDR
    for (String text : List.of("tEXtprompt\0a red apple", "iTXtTitle\0\0\0de\0Titel\0ein Apfel")) {
      byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
      out.writeBytes(ByteBuffer.allocate(4).putInt(bytes.length - 4).array());
      out.writeBytes(bytes);
      out.writeBytes(new byte[4]);
    }
    out.write(png, 33, png.length - 33);
    return withSums(out.toByteArray());
  }

  /** A PNG with every checksum right; anything else as it is. */
  private static byte[] withSums(byte[] file) {
    if (!Signature.begins(file, "\u0089PNG")) {
      return file;
    }
    ByteBuffer data = ByteBuffer.wrap(file);
    int at = 8;
    while (at + 12 <= file.length) {
      long end = at + 8L + data.getInt(at);
      if (end < at + 8 || end > file.length - 4) {
        break;
      }
      CRC32 sum = new CRC32();
      sum.update(file, at + 4, (int) end - at - 4);
      data.putInt((int) end, (int) sum.getValue());
      at = (int) end + 4;
    }
    return file;
  }
}
