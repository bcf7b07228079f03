package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class JsonTest {
  @TempDir Path folder;

  record Options(int windows, double rate, List<String> names) {
    Options {
      if (windows < 1) {
        throw new IllegalArgumentException("windows is " + windows + ", expected at least 1");
      }
    }
  }

  @Test
  void roundTripsARecordAsPlainText() throws IOException {
    Path file = folder.resolve("options.json");
    Options options = new Options(4, 1e-4, List.of("grün"));
    Json.write(file, options);
    assertThat(Files.readString(file))
        .isEqualTo("{\n  \"windows\": 4,\n  \"rate\": 1.0E-4,\n  \"names\": [ \"grün\" ]\n}\n");
    assertThat(Json.read(file, Options.class)).isEqualTo(options);
    assertThat(Json.read(file).path("windows").asInt()).isEqualTo(4);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      value = {
        "{'windows': 4, 'rate': 1, 'windoes': 3} | Unrecognized field \\\"windoes\\\"",
        "{'windows': 4} | 'rate' has no value",
        "{'windows': 4, 'rate': 'x'} | 'rate': Cannot deserialize value",
        "{'windows': 0, 'rate': 1} | windows is 0, expected at least 1",
        "{'windows': 4, 'windows': 5} | Duplicate field 'windows'",
        "{'windows': 4, 'rate': 1} {} | Trailing token",
        "{'windows': | line 1, column",
      })
  void refusesWhatDoesNotFit(String json, String message) throws IOException {
    Path file = folder.resolve("options.json");
    Files.writeString(file, json.replace('\'', '"'));
    assertThatThrownBy(() -> Json.read(file, Options.class))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith(file.toString())
        .hasMessageContaining(message.replace("\\\"", "\""));
  }

  @ParameterizedTest
  @ValueSource(strings = {"[]", "null", "3", "\"x\"", "", " ", "{", "[[", "{}}"})
  void configurationsAreObjects(String json) throws IOException {
    Path file = Files.writeString(folder.resolve("config.json"), json);
    assertThatThrownBy(() -> Json.readObject(file))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith(file.toString())
        .hasMessageNotContaining("REDACTED");
  }

  @Test
  void readsUtf8OfAnyLengthUpToALimit() throws IOException {
    Path file = Files.writeString(folder.resolve("config.json"), "\ufeff{\"a\": \"ü\"}");
    assertThat(Json.readObject(file).path("a").asText()).isEqualTo("ü"); // as editors save it
    Files.writeString(file, "{\"a\": \"ü\"}", StandardCharsets.UTF_16);
    assertThatThrownBy(() -> Json.readObject(file))
        .hasMessage(file + " is no UTF-8 text; save it as UTF-8");
    Files.writeString(file, "{\"a\": \"ü\"}", StandardCharsets.ISO_8859_1);
    assertThatThrownBy(() -> Json.readObject(file)).hasMessageContaining("is no UTF-8 text");
    Files.writeString(file, "[".repeat(100_000));
    assertThatThrownBy(() -> Json.readObject(file)).isInstanceOf(FormatException.class);
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.allocate(1), 10_000_000_000L); // a hole: takes no disk
    }
    assertThatThrownBy(() -> Json.readObject(file))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("has 10,000,000,001 bytes, more than the 32,000,000");
  }

  @Test
  void namesAFileThatIsNotThere() {
    assertThatThrownBy(() -> Json.read(folder.resolve("no.json")))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("no.json: there is no such file");
  }
}
