package org.perflow.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.FormatException;
import org.perflow.io.Images;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;

/** On files of a few pictures, made here byte by byte. */
class FashionMnistTest {
  private static final int PIXELS = 28 * 28;

  @TempDir Path folder;

  @BeforeEach
  void files() throws IOException {
    write("train-images-idx3-ubyte.gz", images(3));
    write("train-labels-idx1-ubyte.gz", labels(7, 9, 1));
    write("t10k-images-idx3-ubyte.gz", images(2));
    write("t10k-labels-idx1-ubyte.gz", labels(0, 7));
  }

  /** Picture i has the value 100 + i in its first pixel, 200 + i in its last, else 0. */
  private static byte[] images(int count) {
    ByteBuffer idx = ByteBuffer.allocate(16 + count * PIXELS);
    idx.putInt(0x803).putInt(count).putInt(28).putInt(28);
    for (int i = 0; i < count; i++) {
      idx.put(16 + i * PIXELS, (byte) (100 + i));
      idx.put(16 + i * PIXELS + PIXELS - 1, (byte) (200 + i));
    }
    return idx.array();
  }

  private static byte[] labels(int... labels) {
    ByteBuffer idx = ByteBuffer.allocate(8 + labels.length);
    idx.putInt(0x801).putInt(labels.length);
    Arrays.stream(labels).forEach(label -> idx.put((byte) label));
    return idx.array();
  }

  private Path write(String name, byte[] content) throws IOException {
    ByteArrayOutputStream packed = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(packed)) {
      gzip.write(content);
    }
    return Files.write(folder.resolve(name), packed.toByteArray());
  }

  private FashionMnist.Summary build(int count) throws IOException {
    return FashionMnist.build(folder.resolve("out"), folder, count, written -> {});
  }

  private List<Sample> read(String shard) throws IOException {
    return ShardReader.readAll(List.of(folder.resolve("out").resolve(shard)));
  }

  @Test
  void picturesStandInABorderWithTheirCaptions() throws IOException {
    assertThat(build(10))
        .isEqualTo(new FashionMnist.Summary(3, 2, List.of("train-0000.tar", "test.tar")));
    List<Sample> train = read("train-0000.tar");
    assertThat(train.stream().map(Sample::key))
        .containsExactly("train-00000", "train-00001", "train-00002");
    assertThat(train.stream().map(Sample::caption))
        .containsExactly(
            "picture of a sneaker, shoe",
            "picture of an ankle boot, shoe",
            "picture of trousers, pants");
    assertThat(train.get(1).json().path("class").asInt()).isEqualTo(9);
    assertThat(read("test.tar").stream().map(Sample::caption))
        .containsExactly("picture of a t-shirt, top", "picture of a sneaker, shoe");
    var picture = Images.decode(train.get(1).picture(), "boot");
    assertThat(picture.getWidth()).isEqualTo(32);
    assertThat(picture.getHeight()).isEqualTo(32);
    assertThat(picture.getRGB(2, 2) & 0xffffff).isEqualTo(0x656565); // 101
    assertThat(picture.getRGB(29, 29) & 0xffffff).isEqualTo(0xc9c9c9); // 201
    assertThat(picture.getRGB(1, 1) & 0xffffff).isZero();
    assertThat(picture.getRGB(30, 30) & 0xffffff).isZero();
    assertThat(folder.resolve("out/ATTRIBUTION.md")).content().contains("MIT", "Zalando");
  }

  @Test
  void theFirstOfEachSplit() throws IOException {
    assertThat(build(1).train()).isEqualTo(1);
    assertThat(read("train-0000.tar")).hasSize(1);
    assertThat(read("test.tar").get(0).caption()).isEqualTo("picture of a t-shirt, top");
  }

  private void assertRefused(Path file, String... words) {
    assertThatThrownBy(() -> build(10))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining(file.toString())
        .hasMessageContainingAll(words);
    assertThat(folder.resolve("out/train-0000.tar")).doesNotExist();
  }

  @Test
  void brokenFilesAreNamed() throws IOException {
    Path file = write("t10k-images-idx3-ubyte.gz", Arrays.copyOf(images(2), 16 + PIXELS));
    assertRefused(file, "1,568 bytes, but has 784");
    write("t10k-images-idx3-ubyte.gz", new byte[] {0, 0, 8});
    assertRefused(file, "truncated");
    byte[] packed = Files.readAllBytes(write("t10k-images-idx3-ubyte.gz", images(2)));
    Files.write(file, Arrays.copyOf(packed, packed.length / 2));
    assertRefused(file, "truncated");
    Files.write(file, images(2));
    assertRefused(file, "not packed by gzip");
    write("t10k-images-idx3-ubyte.gz", labels(1, 2));
    assertRefused(file, "begins with 00000801, expected 00000803");
    byte[] wide = images(2);
    wide[11] = 32;
    write("t10k-images-idx3-ubyte.gz", wide);
    assertRefused(file, "[2, 32, 28], expected [N, 28, 28]");
  }

  @Test
  void labelsMustFit() throws IOException {
    Path file = write("train-labels-idx1-ubyte.gz", labels(1, 2));
    assertRefused(file, "2 labels, but there are 3 pictures");
    write("train-labels-idx1-ubyte.gz", labels(1, 2, 10));
    assertRefused(file, "label 10, expected 0 to 9");
  }

  @Test
  void missingFilesAreNamed() throws IOException {
    Path file = folder.resolve("t10k-labels-idx1-ubyte.gz");
    Files.delete(file);
    assertThatThrownBy(() -> build(10))
        .hasMessageContainingAll(file.toString(), "there is no such file");
  }
}
