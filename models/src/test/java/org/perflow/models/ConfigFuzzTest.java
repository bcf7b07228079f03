package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.perflow.io.FormatException;
import org.perflow.io.Json;

/**
 * Configurations and tokenizers with values changed at random, from a seed: each is read and built,
 * or refused by an exception with a message, soon.
 */
class ConfigFuzzTest {
  private static final String[] VALUES = {
    "0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "64",
    "1000",
    "2147483647",
    "-2147483648",
    "9223372036854775808",
    "1e30",
    "1e300",
    "1e-300",
    "0.5",
    "NaN",
    "Infinity",
    "-Infinity",
    "null",
    "true",
    "false",
    "\"\"",
    "\"x\"",
    "\"64\"",
    "\"UpBlock2D\"",
    "[]",
    "{}",
    "[1]",
    "[0, 0, 0, 0]",
    "[[1]]",
    "{\"a\": 1}",
    "[64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64]"
  };

  private final Random random = new Random(20);

  /** Reads and builds something of a configuration; what it makes is closed. */
  private interface Reader {
    void read(ObjectNode config) throws Exception;
  }

  private static final Map<String, Reader> READERS = new TreeMap<>();

  static {
    READERS.put(
        "models/sd15/unet/config.json",
        config -> new UNet2DConditionModel(UNetConfig.of(config)).close());
    READERS.put(
        "models/sdxl/unet/config.json",
        config -> new UNet2DConditionModel(UNetConfig.of(config)).close());
    READERS.put(
        "models/sd15/vae/config.json", config -> new AutoencoderKL(VaeConfig.of(config)).close());
    READERS.put(
        "models/sd15/text_encoder/config.json",
        config -> new CLIPTextModel(ClipTextConfig.of(config)).close());
    READERS.put(
        "models/controlnet-sd15/config.json",
        config -> new ControlNetModel(ControlNetConfig.of(config)).close());
    READERS.put(
        "models/taesd/config.json",
        config -> new AutoencoderTiny(AutoencoderTiny.Config.of(config)).close());
    READERS.put(
        "models/sd15/scheduler/scheduler_config.json",
        config -> SchedulerConfig.checked("scheduler", config));
  }

  private JsonNode value() throws IOException {
    return Json.MAPPER.readTree(VALUES[random.nextInt(VALUES.length)]);
  }

  /** One to three values of {@code json}, at any depth, are others, gone or new. */
  private ObjectNode changed(ObjectNode json) throws IOException {
    ObjectNode copy = json.deepCopy();
    for (int i = random.nextInt(3); i >= 0; i--) {
      change(copy);
    }
    return copy;
  }

  private void change(ObjectNode json) throws IOException {
    List<String> keys = new ArrayList<>();
    json.fieldNames().forEachRemaining(keys::add);
    String key = keys.isEmpty() ? "x" : keys.get(random.nextInt(keys.size()));
    JsonNode old = json.path(key);
    if (old.isObject() && random.nextBoolean()) {
      change((ObjectNode) old);
    } else if (old.isArray() && !old.isEmpty() && random.nextBoolean()) {
      ((ArrayNode) old).set(random.nextInt(old.size()), value());
    } else if (random.nextInt(10) == 0) {
      json.remove(key);
    } else {
      json.set(random.nextInt(20) == 0 ? "x" + key : key, value());
    }
  }

  private void configurations(int count) throws IOException {
    int read = 0;
    for (var entry : READERS.entrySet()) {
      ObjectNode original = Json.readObject(Golden.ROOT.resolve(entry.getKey()));
      for (int i = 0; i < count; i++) {
        ObjectNode config = changed(original);
        read += isRead(entry.getKey() + " " + config, () -> entry.getValue().read(config)) ? 1 : 0;
      }
    }
    assertThat(read).isBetween(1, READERS.size() * count - 1);
  }

  private interface Body {
    void run() throws Exception;
  }

  /** Whether {@code body} went through; else it has to have said why. */
  private static boolean isRead(String what, Body body) {
    return assertTimeoutPreemptively(
        Duration.ofSeconds(30), // of a moment, on a machine with much else to do
        () -> {
          try {
            body.run();
            return true;
          } catch (IllegalArgumentException | FormatException e) {
            assertThat(e.getMessage()).as(what).isNotBlank();
            return false;
          } catch (Throwable e) { // also errors of the virtual machine
            throw new AssertionError(what, e);
          }
        },
        what);
  }

  @Test
  void configurationsAreReadOrRefused() throws IOException {
    configurations(60);
  }

  @Tag("slow")
  @Test
  void manyConfigurationsAreReadOrRefused() throws IOException {
    configurations(5_000);
  }

  // ---------------------------------------------------------------- tokenizers

  private void tokenizers(int count) throws IOException {
    Path folder = Golden.SD15.resolve("tokenizer");
    Map<String, String> files = new TreeMap<>();
    for (String name : List.of("merges.txt", "vocab.json")) {
      files.put(name, Files.readString(folder.resolve(name)));
    }
    ObjectNode config = Json.readObject(folder.resolve("tokenizer_config.json"));
    config
        .putObject("added_tokens_decoder")
        .putObject("3514")
        .put("content", "<a>")
        .put("lstrip", true);
    ObjectNode special = JsonNodeFactory.instance.objectNode().put("pad_token", "!");
    special.putArray("additional_special_tokens").add("<b>").addObject().put("content", "<c>");
    ObjectNode added = JsonNodeFactory.instance.objectNode().put("<d>", 3514);
    int read = 0;
    for (int i = 0; i < count; i++) {
      Map<String, String> changed = new TreeMap<>(files);
      ObjectNode other = changed(config);
      if (random.nextBoolean()) {
        other.remove("added_tokens_decoder");
      }
      changed.put("tokenizer_config.json", other.toString());
      changed.put("special_tokens_map.json", changed(special).toString());
      changed.put("added_tokens.json", changed(added).toString());
      if (random.nextInt(3) == 0) {
        changed.computeIfPresent(
            List.of("merges.txt", "vocab.json", "added_tokens.json").get(random.nextInt(3)),
            (name, content) -> damaged(content));
      }
      String text = text();
      boolean good =
          isRead(
              changed.get("tokenizer_config.json") + changed.get("added_tokens.json") + text,
              () -> {
                CLIPTokenizer tokenizer = CLIPTokenizer.of("tokenizer", changed);
                assertThat(tokenizer.tokens(text)).allMatch(id -> id >= 0 && id < tokenizer.size());
              });
      read += good ? 1 : 0;
    }
    assertThat(read).isBetween(1, count - 1);
  }

  /** Something of {@code file} is gone, there twice, or another character. */
  private String damaged(String file) {
    int from = random.nextInt(file.length());
    int to = Math.min(file.length(), from + 1 + random.nextInt(100));
    return switch (random.nextInt(4)) {
      case 0 -> file.substring(0, from);
      case 1 -> file.substring(0, from) + file.substring(to);
      case 2 -> file.substring(0, to) + file.substring(from);
      default -> file.substring(0, from) + (char) random.nextInt(0x3000) + file.substring(from + 1);
    };
  }

  /** Characters of all kinds, lone surrogates too, and pieces of tokens. */
  private String text() {
    StringBuilder text = new StringBuilder();
    for (int i = random.nextInt(30); i >= 0; i--) {
      switch (random.nextInt(5)) {
        case 0 -> text.append((char) random.nextInt(0x10000));
        case 1 -> text.appendCodePoint(random.nextInt(0x110000));
        case 2 ->
            text.append(
                List.of("<a>", "<b>", "<|endoftext|>", "<a>_1", "!").get(random.nextInt(5)));
        case 3 -> text.append(random.nextBoolean() ? " " : "\t\n");
        default -> text.append((char) (' ' + random.nextInt(95)));
      }
    }
    return text.toString();
  }

  @Test
  void tokenizersAreReadOrRefused() throws IOException {
    tokenizers(60);
  }

  @Tag("slow")
  @Test
  void manyTokenizersAreReadOrRefused() throws IOException {
    tokenizers(5_000);
  }
}
