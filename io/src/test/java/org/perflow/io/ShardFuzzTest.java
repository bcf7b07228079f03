package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Damaged shards are refused or read, soon. */
class ShardFuzzTest {
  private static final int BLOCK = 512;

  @TempDir Path folder;

  private int run(int count) throws IOException {
    List<byte[]> shards = new ArrayList<>();
    try (Stream<Path> files = Files.list(Path.of("src/test/resources/shards"))) {
      for (Path file : files.sorted().toList()) {
        shards.add(Files.readAllBytes(file));
      }
    }
    Path tar = folder.resolve("train.tar");
    return new Fuzzing(shards, ShardFuzzTest::withSums, 3)
        .run(
            count,
            file -> {
              Files.deleteIfExists(tar); // a new file is written faster than an old one
              Files.write(tar, file);
              ShardReader.readAll(List.of(tar));
            });
  }

  @Test
  void damagedShardsAreRefusedOrRead() throws IOException {
    assertThat(run(300)).isBetween(1, 299);
  }

  @Tag("slow")
  @Test
  void manyDamagedShardsAreRefusedOrRead() throws IOException {
    assertThat(run(20_000)).isPositive();
  }

  /** Of every block that looks like a header the checksum is made right; and the tar ends. */
  private static byte[] withSums(byte[] file) {
    for (int at = 0; at + BLOCK <= file.length; at += BLOCK) {
      if (new String(file, at + 257, 5, StandardCharsets.ISO_8859_1).equals("ustar")) {
        String sum = "%06o\0 ".formatted(sum(file, at));
        System.arraycopy(sum.getBytes(StandardCharsets.ISO_8859_1), 0, file, at + 148, 8);
      }
    }
    return Arrays.copyOf(file, file.length + 2 * BLOCK - file.length % BLOCK);
  }

  /** Of all bytes, its own eight taken for spaces. */
  private static int sum(byte[] file, int at) {
    int sum = 0;
    for (int i = 0; i < BLOCK; i++) {
      sum += i >= 148 && i < 156 ? ' ' : file[at + i] & 0xFF;
    }
    return sum;
  }
}
