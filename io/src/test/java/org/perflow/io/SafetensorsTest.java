package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class SafetensorsTest {
  private static final Path PYTHON = Path.of("src/test/resources/golden/python.safetensors");

  @TempDir Path folder;

  @Test
  void readsWhatPythonWrote() throws IOException {
    try (Scope scope = Scope.open();
        SafetensorsFile file = SafetensorsFile.open(PYTHON)) {
      assertThat(file.metadata()).containsEntry("note", "grüße ☂").containsEntry("format", "pt");
      assertThat(file.entries()).hasSize(12);
      assertThat(file.read("f64").toDoubleArray()).containsExactly(1.5, -2.25, 3e300, 0);
      assertThat(file.read("f32").shape()).containsExactly(2, 3);
      assertThat(file.read("f32").toFloatArray()[5]).isEqualTo(5 / 7f);
      assertThat(file.read("f16").toFloatArray()[1]).isEqualTo(-65504f);
      assertThat(file.read("bf16").toFloatArray()[0]).isEqualTo(0.10009765625f);
      assertThat(file.read("i64").toLongArray()).containsExactly(Long.MIN_VALUE, Long.MAX_VALUE);
      assertThat(file.read("i32").toLongArray()).containsExactly(Integer.MIN_VALUE, 7);
      assertThat(file.read("i16").toLongArray()).containsExactly(-32768, 5);
      assertThat(file.read("i8").toLongArray()).containsExactly(-128, 127);
      assertThat(file.read("u8").toLongArray()).containsExactly(0, 255, 3);
      assertThat(file.read("bool").toLongArray()).containsExactly(1, 0, 1);
      assertThat(file.read("scalar").shape()).isEmpty();
      assertThat(file.read("scalar").item()).isEqualTo(2.5);
      assertThat(file.read("empty").shape()).containsExactly(0, 3);
    }
  }

  @Test
  void writesTheSameBytesAsPython() throws IOException {
    Path copy = folder.resolve("copy.safetensors");
    try (Scope scope = Scope.open();
        SafetensorsFile file = SafetensorsFile.open(PYTHON)) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      for (String name : file.entries().keySet()) {
        tensors.put(name, file.read(name));
      }
      SafetensorsWriter.write(copy, tensors, file.metadata());
    }
    assertThat(data(copy)).isEqualTo(data(PYTHON)); // headers differ in the order of types
  }

  private static byte[] data(Path file) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    long header = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
    return Arrays.copyOfRange(bytes, (int) (8 + header), bytes.length);
  }

  /** More than is read at a time, so that it is converted in parts. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F16", "F32", "F64"})
  void convertsWhileItReads(DType as) throws IOException {
    Path path = folder.resolve("large.safetensors");
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.randn(Rng.seeded(1), 3, 1_100_001); // 13 MB
      SafetensorsWriter.write(path, Map.of("x", x), Map.of());
      try (SafetensorsFile file = SafetensorsFile.open(path)) {
        Tensor read = file.read("x", as);
        assertThat(read.dtype()).isEqualTo(as);
        assertThat(read.toDoubleArray()).isEqualTo(x.to(as).toDoubleArray());
      }
    }
  }

  @ParameterizedTest
  @EnumSource(DType.class)
  void roundTrips(DType type) throws IOException {
    Path path = folder.resolve("t.safetensors");
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.randn(Rng.seeded(1), 3, 5, 2).mul(9).to(type);
      Tensor strided = x.transpose(0, 2); // is written row-major all the same
      SafetensorsWriter.write(path, Map.of("x", x, "strided", strided), Map.of("k", "v"));
      try (SafetensorsFile file = SafetensorsFile.open(path)) {
        assertThat(file.entries().get("x").dtype()).isEqualTo(type);
        assertThat(file.metadata()).containsExactly(Map.entry("k", "v"));
        assertThat(file.read("x").dtype()).isEqualTo(type);
        assertThat(file.read("x").toDoubleArray()).isEqualTo(x.toDoubleArray());
        assertThat(file.read("strided").shape()).containsExactly(2, 5, 3);
        assertThat(file.read("strided").toDoubleArray()).isEqualTo(strided.toDoubleArray());
        Tensor converted = file.read("x", DType.F32);
        assertThat(converted.dtype()).isEqualTo(DType.F32);
        assertThat(converted.toFloatArray()).isEqualTo(x.toFloatArray());
      }
    }
  }

  @Test
  void convertsFloatsWhileWritingAndReadsLargeTensorsInChunks() throws IOException {
    Path path = folder.resolve("t.safetensors");
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.arange(5_000_001).to(DType.F32); // 20 MB: more than one chunk
      SafetensorsWriter.write(path, Map.of("x", x), Map.of());
      try (SafetensorsFile file = SafetensorsFile.open(path)) {
        assertThat(file.read("x").sub(x).abs().max().item()).isZero();
      }
      Map<String, Tensor> both = Map.of("x", x, "ids", Tensor.arange(3));
      SafetensorsWriter.write(path, both, DType.BF16, Map.of());
      try (SafetensorsFile file = SafetensorsFile.open(path)) {
        assertThat(file.entries().get("x").dtype()).isEqualTo(DType.BF16);
        assertThat(file.entries().get("ids").dtype()).isEqualTo(DType.I64);
      }
    }
  }

  @Test
  void readsBeyondTwoGigabytes() throws IOException {
    long pad = 3L << 30;
    Path path =
        raw(
            ("{'pad':{'dtype':'U8','shape':[%d],'data_offsets':[0,%d]},"
                    + "'x':{'dtype':'I64','shape':[1],'data_offsets':[%d,%d]}}")
                .formatted(pad, pad, pad, pad + 8),
            0);
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
      ByteBuffer value = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, 4711);
      channel.write(value, Files.size(path) + pad); // a hole before it: takes no disk
    }
    try (Scope scope = Scope.open();
        SafetensorsFile file = SafetensorsFile.open(path)) {
      assertThat(file.read("x").item()).isEqualTo(4711);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      value = {
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]},'b':{'dtype':'F32','shape':[2],'data_offsets':[4,12]}} | 12 | overlap",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[4,12]}} | 12 | hole",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}} | 12 | belong to no tensor",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}} | 7 | truncated: expected 70 bytes, got 69",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[8,0]}} | 8 | data_offsets [8, 0]",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[-8,0]}} | 8 | -8 in its data_offsets",
        "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0]}} | 8 | data_offsets [0]",
        "{'a':{'dtype':'F32','shape':[3],'data_offsets':[0,8]}} | 8 | needs 12 bytes",
        "{'a':{'dtype':'F32','shape':[-2],'data_offsets':[0,8]}} | 8 | -2 in its shape",
        "{'a':{'dtype':'F32','shape':[4611686018427387904,4],'data_offsets':[0,0]}} | 0 | over 2^63",
        "{'a':{'dtype':'F32','shape':[2305843009213693951],'data_offsets':[0,9223372036854775804]}} | 8 | truncated",
        "{'a':{'dtype':'F32','shape':[99999999999999999999],'data_offsets':[0,8]}} | 8 | 99999999999999999999 in its shape",
        "{'a':{'dtype':'F32','shape':'2','data_offsets':[0,8]}} | 8 | no list 'shape'",
        "{'a':{'dtype':'F8_E4M3','shape':[8],'data_offsets':[0,8]}} | 8 | dtype 'F8_E4M3', known are [F64",
        "{'a':{'dtype':'F32','shape':[2.0],'data_offsets':[0,8]}} | 8 | 2.0 in its shape",
        "{'a':{'dtype':'F32','shape':[[2]],'data_offsets':[0,8]}} | 8 | [ in its shape",
        "{'a':{'dtype':'F32','shape':[2]}} | 8 | no list 'data_offsets'",
        "{'a':7} | 8 | dtype ''",
        "{'a':null} | 8 | dtype ''",
        "{'a':{'dtype':'I8','shape':[1],'data_offsets':[0,1]},'a':{'dtype':'I8','shape':[1],'data_offsets':[0,1]}} | 1 | Duplicate",
        "{'__metadata__':{'a':1}} | 0 | strings only, but 'a'",
        "{'__metadata__':{'a':null}} | 0 | strings only, but 'a'",
        "{'__metadata__':{'a':{'b':'c'}}} | 0 | strings only, but 'a'",
        "{'__metadata__':[1]} | 0 | no JSON object",
        "[1,2] | 0 | no JSON object",
        "{'a': | 0 | no valid JSON",
        "{} x | 0 | no valid JSON",
        "{} {} | 0 | goes on behind its JSON object",
      })
  void refusesHostileHeaders(String header, int dataBytes, String message) throws IOException {
    Path path = raw(header, dataBytes);
    assertThatThrownBy(() -> SafetensorsFile.open(path))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith(path.toString())
        .hasMessageContaining(message);
  }

  /** The reference wants UTF-8, and Java's libraries guess. */
  @ParameterizedTest
  @ValueSource(
      strings = {"UTF-16", "UTF-16BE", "UTF-16LE", "UTF-32", "UTF-32BE", "\ufeff", "\u00ff"})
  void refusesHeadersThatAreNoUtf8(String how) throws IOException {
    String header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    byte[] json =
        how.startsWith("UTF")
            ? header.getBytes(Charset.forName(how))
            : how.equals("\ufeff")
                ? (how + header).getBytes(StandardCharsets.UTF_8)
                : header.replace("a\":", how + "\":").getBytes(StandardCharsets.ISO_8859_1);
    assertThatThrownBy(() -> SafetensorsFile.open(raw(json, 4)))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("hostile.safetensors: its header is no valid JSON")
        .hasMessageNotContaining("REDACTED");
  }

  @Test
  void readsNullMetadataAsNone() throws IOException {
    String tensor = "'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4],'more':[{}]}";
    try (SafetensorsFile file =
        SafetensorsFile.open(raw("{'__metadata__':null," + tensor + "}", 4))) {
      assertThat(file.metadata()).isEmpty();
      assertThat(file.entries()).containsOnlyKeys("a");
    }
  }

  @Test
  void aHeaderTakesNoMoreThanWhatItNames() throws IOException {
    String nested = "[".repeat(5000); // as deep as a parser's stack
    assertThatThrownBy(() -> SafetensorsFile.open(raw("{'a':{'x':" + nested, 0)))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("no valid JSON");
    String many = "1,".repeat(1_000_000); // would be a million objects in a tree
    assertThatThrownBy(() -> SafetensorsFile.open(raw("{'a':{'shape':[" + many + "1]}}", 0)))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("tensor 'a' has over 64 numbers in its shape");
  }

  @ParameterizedTest
  @CsvSource({
    "10000000000, header of 10000000000 bytes",
    "-1, header of 18446744073709551615 bytes",
    "0, header of 0 bytes",
    "50, 'truncated: expected 58 bytes, got 24'"
  })
  void refusesHostileLengths(long length, String message) throws IOException {
    Path path = folder.resolve("hostile.safetensors");
    ByteBuffer bytes = ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN).putLong(0, length);
    Files.write(path, bytes.array());
    assertThatThrownBy(() -> SafetensorsFile.open(path))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining(message);
  }

  @Test
  void namesFilesAndTensorsThatAreNotThere() throws IOException {
    assertThatThrownBy(() -> SafetensorsFile.open(folder.resolve("no.safetensors")))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("no.safetensors: there is no such file");
    try (SafetensorsFile file = SafetensorsFile.open(PYTHON)) {
      assertThatThrownBy(() -> file.read("f33"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("python.safetensors holds no tensor 'f33'");
    }
  }

  /** A file of that header, with ' for ", and so many zero bytes. */
  private Path raw(String header, int dataBytes) throws IOException {
    return raw(header.replace('\'', '"').getBytes(StandardCharsets.UTF_8), dataBytes);
  }

  private Path raw(byte[] json, int dataBytes) throws IOException {
    ByteBuffer bytes =
        ByteBuffer.allocate(8 + json.length + dataBytes).order(ByteOrder.LITTLE_ENDIAN);
    bytes.putLong(json.length).put(json);
    return Files.write(folder.resolve("hostile.safetensors"), bytes.array());
  }
}
