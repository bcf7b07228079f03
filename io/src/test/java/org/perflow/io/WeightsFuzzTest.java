package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.tensor.Scope;

/** Damaged weights and configurations are refused or read, soon. */
class WeightsFuzzTest {
  private static final Path GOLDEN = Path.of("src/test/resources/golden");

  @TempDir Path folder;

  private static List<byte[]> files(Path folder, String pattern) throws IOException {
    List<byte[]> files = new ArrayList<>();
    try (Stream<Path> paths = Files.list(folder)) {
      for (Path path : paths.sorted().toList()) {
        if (path.getFileName().toString().matches(pattern)) {
          files.add(Files.readAllBytes(path));
        }
      }
    }
    return files;
  }

  private void read(String name, byte[] bytes) throws IOException {
    Path file = folder.resolve(name);
    Files.deleteIfExists(file); // a new file is written faster than an old one
    Files.write(file, bytes);
    try (Scope scope = Scope.open();
        NamedTensors weights = WeightFiles.open(file)) {
      for (NamedTensors.Entry entry : weights.entries().values()) {
        assertThat(weights.read(entry.name()).shape()).isEqualTo(entry.shape());
      }
    }
  }

  private int safetensors(int count) throws IOException {
    return new Fuzzing(files(GOLDEN, "python\\.safetensors"), WeightsFuzzTest::withLength, 4)
        .run(count, file -> read("x.safetensors", file));
  }

  /** The length in front is that of the header, and the data as long as it says of one tensor. */
  private static byte[] withLength(byte[] file) {
    int end = new String(file, StandardCharsets.ISO_8859_1).lastIndexOf("}}");
    if (end > 8) {
      ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).putLong(0, end + 2 - 8);
    }
    return file;
  }

  private int pickles(int count) throws IOException {
    List<byte[]> files = files(GOLDEN.resolve("torch"), ".*\\.(bin|ckpt)");
    return new Fuzzing(files, UnaryOperator.identity(), 5).run(count, file -> read("x.bin", file));
  }

  private int configurations(int count) throws IOException {
    byte[] index =
        "{\"weight_map\": {\"a\": \"x-1.safetensors\", \"b\": \"../y\"}}"
            .getBytes(StandardCharsets.UTF_8);
    byte[] config =
        "{\"a\": [1, 2.5e3, null, \"\\u00e4\"], \"b\": {\"c\": true}}"
            .getBytes(StandardCharsets.UTF_8);
    Path file = folder.resolve("x.index.json");
    return new Fuzzing(List.of(index, config), UnaryOperator.identity(), 6)
        .run(
            count,
            bytes -> {
              Files.write(file, bytes);
              Json.readObject(file);
              try {
                read("x.index.json", bytes);
              } catch (FormatException e) { // no index of shards, or of shards that are not there
                assertThat(e.getMessage()).startsWith(file.toString());
              }
            });
  }

  @Test
  void damagedFilesAreRefusedOrRead() throws IOException {
    assertThat(safetensors(500)).isBetween(1, 499);
    assertThat(pickles(500)).isBetween(1, 499);
    assertThat(configurations(500)).isBetween(1, 499);
  }

  @Tag("slow")
  @Test
  void manyDamagedFilesAreRefusedOrRead() throws IOException {
    assertThat(safetensors(30_000)).isPositive();
    assertThat(pickles(30_000)).isPositive();
    assertThat(configurations(30_000)).isPositive();
  }
}
