package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;

/** Files that torch wrote (make.py beside them), damaged ones, and hostile ones. */
class TorchFileTest {
  private static final Path TORCH = Path.of("src/test/resources/golden/torch");

  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(strings = {"zip.bin", "legacy.bin"})
  void readsWhatTorchSaved(String name) throws IOException {
    try (Scope scope = Scope.open();
        NamedTensors expected = SafetensorsFile.open(TORCH.resolve("expected.safetensors"));
        NamedTensors file = WeightFiles.open(TORCH.resolve(name))) {
      assertThat(file.entries().keySet())
          .containsExactlyInAnyOrderElementsOf(expected.entries().keySet());
      for (String tensor : expected.entries().keySet()) {
        assertThat(file.entry(tensor).dtype()).as(tensor).isEqualTo(expected.entry(tensor).dtype());
        assertThat(file.entry(tensor).shape()).as(tensor).isEqualTo(expected.entry(tensor).shape());
        assertThat(file.read(tensor).shape()).as(tensor).isEqualTo(expected.entry(tensor).shape());
        if (file.entry(tensor).numel() > 0) {
          assertThat(file.read(tensor).toDoubleArray())
              .as(tensor)
              .isEqualTo(expected.read(tensor).toDoubleArray());
        }
      }
      assertThat(file.read("i64").toLongArray()).containsExactly(Long.MIN_VALUE, Long.MAX_VALUE);
      assertThat(file.read("f32", DType.BF16).dtype()).isEqualTo(DType.BF16);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"checkpoint.ckpt", "legacy.ckpt"})
  void takesTheStateDictOfACheckpoint(String name) throws IOException {
    try (Scope scope = Scope.open();
        NamedTensors expected = SafetensorsFile.open(TORCH.resolve("expected.safetensors"));
        NamedTensors file = WeightFiles.open(TORCH.resolve(name))) {
      assertThat(file.entries()).containsOnlyKeys("weight"); // no optimiser state, no note
      assertThat(file.read("weight").toFloatArray()).isEqualTo(expected.read("f32").toFloatArray());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"hostile.bin", "hostile-legacy.bin"})
  void refusesCodeByName(String name) {
    Path file = TORCH.resolve(name);
    assertThatThrownBy(() -> WeightFiles.open(file))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith(file.toString())
        .hasMessageMatching(".*asks for (posix|nt)\\.system, .*safetensors.*");
    assertThat(Path.of("perflow-was-here")).doesNotExist();
  }

  @ParameterizedTest
  @ValueSource(strings = {"zip.bin", "legacy.bin"})
  void damagedFilesAreErrorsNeverCrashes(String name) throws IOException {
    byte[] whole = Files.readAllBytes(TORCH.resolve(name));
    Path file = folder.resolve(name);
    for (int length = 8; length < whole.length; length += 61) { // truncated
      Files.write(file, Arrays.copyOf(whole, length));
      assertThatThrownBy(() -> WeightFiles.open(file)).isInstanceOf(FormatException.class);
    }
    for (int at = 8; at < whole.length; at += 7) { // one byte wrong
      byte[] bytes = whole.clone();
      bytes[at] ^= 0x5a;
      Files.write(file, bytes);
      try (Scope scope = Scope.open();
          NamedTensors tensors = WeightFiles.open(file)) {
        for (NamedTensors.Entry entry : tensors.entries().values()) {
          if (entry.numel() < 1000) {
            assertThat(tensors.read(entry.name()).shape()).isEqualTo(entry.shape());
          }
        }
      } catch (IOException e) {
        assertThat(e.getMessage()).contains(name);
      }
    }
  }

  /** Pickles by hand; {@code ~} is a byte that is no text, in the order of the third column. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      value = {
        "cbuiltins~eval~. | 0a 0a | asks for builtins.eval",
        "ctorch~load~. | 0a 0a | asks for torch.load",
        "~~os~~system~. | 8c 02 8c 06 93 | asks for os.system",
        "X~~~~abc. | ff ff ff 7f | announces 2147483647 bytes",
        "ctorch~FloatStorage~)R. | 0a 0a | calls torch.FloatStorage",
        "}. | - | no dictionary of tensors",
        "]~. | 81 | opcode 0x81",
        "h~. | 05 | damaged",
        "} | - | ends too early",
        "(X~~~~aQ. | 01 00 00 00 | refers to something that is no storage",
      })
  void refusesHostilePickles(String pickle, String bytes, String message) throws IOException {
    Path file = zip(fill(pickle, bytes));
    assertThatThrownBy(() -> WeightFiles.open(file))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith(file.toString())
        .hasMessageContaining(message);
  }

  @ParameterizedTest
  @CsvSource({
    "0, 5, 1", // more elements than the storage
    "3, 2, 1", // beyond its end
    "0, 2, 4", // by its stride
    "0, 1000000, 2000000000", // overflows 32 bits
  })
  void refusesTensorsOutsideTheirStorage(int offset, int size, int stride) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    write(out, "}U\1wctorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nFloatStorage\nU\1");
    write(out, "0U\3cpuK\4tQ");
    write(out, number(offset) + number(size) + "\u0085" + number(stride) + "\u0085\u0089}tRs.");
    Path file = zip(out.toByteArray());
    assertThatThrownBy(() -> WeightFiles.open(file))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("in a storage of 4 elements");
  }

  @Test
  void refusesStoragesShorterThanAnnounced() throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    write(out, "}U\1wctorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nFloatStorage\nU\1");
    write(out, "0U\3cpuK\4tQ" + number(0) + number(4) + "\u0085" + number(1) + "\u0085\u0089}tRs.");
    try (Scope scope = Scope.open();
        NamedTensors file = WeightFiles.open(zip(out.toByteArray()))) {
      assertThat(file.entry("w").shape()).containsExactly(4);
      assertThatThrownBy(() -> file.read("w"))
          .isInstanceOf(FormatException.class)
          .hasMessageContaining("storage '0' should hold 16 bytes, the zip has 8");
    }
  }

  private static String number(int value) {
    byte[] bytes = ByteBuffer.allocate(4).putInt(Integer.reverseBytes(value)).array();
    return "J" + new String(bytes, StandardCharsets.ISO_8859_1);
  }

  private static byte[] fill(String pickle, String bytes) {
    StringBuilder text = new StringBuilder(pickle);
    for (String hex : bytes.equals("-") ? new String[0] : bytes.split(" ")) {
      int at = text.indexOf("~");
      text.setCharAt(at, (char) Integer.parseInt(hex, 16));
    }
    return text.toString().getBytes(StandardCharsets.ISO_8859_1);
  }

  private static void write(ByteArrayOutputStream out, String latin) {
    out.writeBytes(latin.getBytes(StandardCharsets.ISO_8859_1));
  }

  /** What torch.save writes, with that pickle and a storage of two floats. */
  private Path zip(byte[] pickle) throws IOException {
    Path file = folder.resolve("made.bin");
    try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(file))) {
      zip.putNextEntry(new ZipEntry("archive/data.pkl"));
      zip.write(new byte[] {(byte) 0x80, 2});
      zip.write(pickle);
      zip.putNextEntry(new ZipEntry("archive/data/0"));
      zip.write(new byte[8]);
    }
    return file;
  }
}
