package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

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
  private static final String TENSOR = tensor(0, 4, 1);

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

  /**
   * As trainers leave them: classes of other packages all over, and the weights four levels deep.
   */
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 4, 5})
  void objectsOfOtherClassesStayInert(int protocol) throws IOException {
    Path checkpoint = TORCH.resolve("trained-" + protocol + ".ckpt");
    try (Scope scope = Scope.open();
        NamedTensors expected = SafetensorsFile.open(TORCH.resolve("expected.safetensors"));
        NamedTensors file = WeightFiles.open(checkpoint)) {
      assertThat(file.entries()).containsOnlyKeys("weight", "bias");
      assertThat(file.metadata()).containsEntry("read_from", "model.module.state_dict");
      float[] base = expected.read("f32").toFloatArray(); // not the averages beside it
      assertThat(file.read("weight").toFloatArray()).isEqualTo(base);
      assertThat(file.read("bias").toFloatArray()).isEqualTo(Arrays.copyOf(base, 6));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "ema, 'ema (averaged weights, EMA)'",
    "params_ema, 'params_ema (averaged weights, EMA)'",
    "model.ema_model, 'model.ema_model (averaged weights, EMA)'",
    "schema, schema",
    "a.b.c.d.e, a.b.c.d.e",
    "'', ",
  })
  void saysWhichDictionaryItRead(String path, String said) throws IOException {
    StringBuilder pickle = new StringBuilder();
    String[] keys = path.isEmpty() ? new String[0] : path.split("\\.");
    for (String key : keys) {
      pickle.append("}U").append((char) key.length()).append(key);
    }
    pickle.append("}U\1w").append(TENSOR).append("s").append("s".repeat(keys.length)).append(".");
    try (NamedTensors file = WeightFiles.open(zip(latin(pickle.toString())))) {
      assertThat(file.entries()).containsOnlyKeys("w");
      assertThat(file.metadata().get("read_from")).isEqualTo(said);
    }
  }

  @Test
  void takesNoneOfSeveralByChance() throws IOException {
    String weights = "}U\1w" + TENSOR + "s";
    Path file = zip(latin("}U\4unet" + weights + "sU\3vae" + weights + "s."));
    assertThatThrownBy(() -> WeightFiles.open(file))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("several dictionaries of tensors: unet, vae; save the one to use");
    String quantised = "ctorch._utils\n_rebuild_qtensor\n)R";
    Path partly = zip(latin("}U\1w" + TENSOR + "sU\1q" + quantised + "s."));
    assertThatThrownBy(() -> WeightFiles.open(partly))
        .hasMessageContaining(
            "its 'q' is made by torch._utils._rebuild_qtensor, which is not read");
  }

  @ParameterizedTest
  @ValueSource(strings = {"]", "}", "(", "N", ")\u0085", "\u008f"})
  void compressedOpcodesDoNotFillTheMemory(String opcode) throws IOException {
    assertRefusedSmall(opcode.repeat(6_000_000));
  }

  /** What is made once and copied by every opcode. */
  @Test
  void copiesDoNotFillTheMemory() throws IOException {
    StringBuilder entries = new StringBuilder();
    for (int i = 0; i < 20_000; i++) {
      entries.append("U\5%05dN".formatted(i));
    }
    String pairs = "(" + entries.toString().replace("N", "N\u0086") + "lq\1";
    assertRefusedSmall(pairs + "ccollections\nOrderedDict\nq\0" + "h\0h\1\u0085R0".repeat(10_000));
    String map = "(" + entries + "dq\1";
    assertRefusedSmall(map + "ca\nB\nq\0" + "h\0)Rh\1b0".repeat(10_000));
    assertRefusedSmall(
        map + "ca\nB\nq\0(" + "h\1".repeat(20_000) + "tq\2" + "h\0h\2R0".repeat(10_000));
  }

  private void assertRefusedSmall(String pickle) throws IOException {
    Path file = zip(latin(pickle + "."));
    assertThat(Files.size(file)).isLessThan(200_000);
    assertThatThrownBy(() -> WeightFiles.open(file))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith(file.toString())
        .hasMessageContaining("the pickle is damaged");
  }

  /** Without its own end: containers in each other and in circles, as deep as a file is long. */
  @Test
  void depthAndCirclesEnd() throws IOException {
    String nested = "}U\1a".repeat(500_000) + "N" + "s".repeat(500_000) + ".";
    assertThatThrownBy(() -> WeightFiles.open(zip(latin(nested))))
        .hasMessageContaining("no dictionary of tensors");
    String circle = "}q\0U\1ah\0sU\1b]q\1h\1ah\0as.";
    assertThatThrownBy(() -> WeightFiles.open(zip(latin(circle))))
        .hasMessageContaining("no dictionary of tensors");
    StringBuilder doubling = new StringBuilder("}q\0");
    for (int i = 0; i < 40; i++) { // 2^40 ways to the innermost
      doubling.append("}(U\1ah\0U\1bh\0uq\0");
    }
    assertThatThrownBy(() -> WeightFiles.open(zip(latin(doubling + "."))))
        .hasMessageContaining("no dictionary of tensors");
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
        "csubprocess~Popen~. | 0a 0a | asks for subprocess.Popen",
        "(iposix~system~. | 0a 0a | asks for posix.system",
        "(c__builtin__~getattr~o. | 0a 0a | asks for __builtin__.getattr",
        "ctorch~FloatStorage~)R. | 0a 0a | no dictionary of tensors",
        "cnumpy~float64~)R. | 0a 0a | no dictionary of tensors",
        "I~. | 0a | damaged",
        "o. | - | damaged",
        "(o. | - | damaged",
        "}. | - | no dictionary of tensors",
        "]~. | 97 | opcode 0x97",
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
    "0, 1000001, 0", // one element, repeated until it fills the memory
  })
  void refusesTensorsOutsideTheirStorage(int offset, int size, int stride) throws IOException {
    Path file = zip(latin("}U\1w" + tensor(offset, size, stride) + "s."));
    assertThatThrownBy(() -> WeightFiles.open(file))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("in a storage of 4 elements");
  }

  @Test
  void refusesStoragesShorterThanAnnounced() throws IOException {
    try (Scope scope = Scope.open();
        NamedTensors file = WeightFiles.open(zip(latin("}U\1w" + TENSOR + "s.")))) {
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

  private static byte[] latin(String pickle) {
    return pickle.getBytes(StandardCharsets.ISO_8859_1);
  }

  /** Part of a pickle: a tensor of one dimension in a storage of four floats. */
  private static String tensor(int offset, int size, int stride) {
    return "ctorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nFloatStorage\nU\0010U\3cpuK\4tQ"
        + (number(offset) + number(size) + "\u0085" + number(stride) + "\u0085\u0089}tR");
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
