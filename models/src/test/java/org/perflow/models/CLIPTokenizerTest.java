package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsFile;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class CLIPTokenizerTest {
  private static List<String> prompts() throws IOException {
    try (var file = SafetensorsFile.open(Golden.ROOT.resolve("modules/clip.safetensors"))) {
      List<String> prompts = new ArrayList<>();
      for (JsonNode prompt : Json.MAPPER.readTree(file.metadata().get("prompts"))) {
        prompts.add(prompt.asText());
      }
      return prompts;
    }
  }

  @ParameterizedTest
  @CsvSource({
    "models/sd15/tokenizer, ids",
    "models/sdxl/tokenizer_2, ids2", // pads with "!"
    "tokenizer_full, ids_full_vocabulary"
  })
  void equalsTransformers(String folder, String name) throws IOException {
    CLIPTokenizer tokenizer = CLIPTokenizer.load(Golden.ROOT.resolve(folder));
    try (Scope scope = Scope.open()) {
      Tensor expected = Golden.read("modules/clip.safetensors", name);
      List<String> prompts = prompts();
      for (int i = 0; i < prompts.size(); i++) {
        assertThat(tokenizer.encode(prompts.get(i)))
            .as(prompts.get(i))
            .containsExactly(expected.select(0, i).toLongArray());
      }
    }
  }

  @Test
  void tokenizerJsonAloneIsEnough(@TempDir Path folder) throws IOException {
    Path source = Golden.SD15.resolve("tokenizer");
    for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
      Files.copy(source.resolve(name), folder.resolve(name));
    }
    CLIPTokenizer tokenizer = CLIPTokenizer.load(folder);
    CLIPTokenizer classic = CLIPTokenizer.load(source);
    for (String prompt : prompts()) {
      assertThat(tokenizer.encode(prompt)).containsExactly(classic.encode(prompt));
    }
  }

  @Test
  void theSpecialTokensMapHasTheLastWord(@TempDir Path folder) throws IOException {
    Path source = Golden.SD15.resolve("tokenizer");
    for (String name : List.of("vocab.json", "merges.txt", "tokenizer_config.json")) {
      Files.copy(source.resolve(name), folder.resolve(name));
    }
    Path map = folder.resolve("special_tokens_map.json"); // as Stable Diffusion 2 writes it
    Files.writeString(map, "{\"pad_token\": {\"content\": \"!\", \"lstrip\": false}}");
    assertThat(CLIPTokenizer.load(folder).encode("a")).startsWith(3512).endsWith(0);
    assertThat(CLIPTokenizer.load(source).encode("a")).startsWith(3512).endsWith(3513);
  }

  @Test
  void cutsBeforeTheEnd() throws IOException {
    CLIPTokenizer tokenizer = CLIPTokenizer.load(Golden.SD15.resolve("tokenizer"));
    long[] ids = tokenizer.encode("a ".repeat(500));
    assertThat(ids).hasSize(77).startsWith(3512).endsWith(3513);
    assertThat(Arrays.stream(ids).skip(1).limit(75).distinct().count()).isEqualTo(1);
    assertThat(tokenizer.tokens("a ".repeat(500))).hasSize(500);
  }

  @Test
  void anEmptyFolderIsExplained(@TempDir Path folder) {
    assertThatThrownBy(() -> CLIPTokenizer.load(folder))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("merges.txt");
  }

  // ---------------------------------------------------------------- against the reference

  /** Of every case (tools/golden_tokenizers.py) its files and its texts with their ids. */
  private static Stream<Arguments> cases() throws IOException {
    JsonNode cases = Json.MAPPER.readTree(Golden.ROOT.resolve("tokenizers.json").toFile());
    return StreamSupport.stream(cases.spliterator(), false)
        .map(c -> Arguments.of(c.path("name").asText(), c));
  }

  private static CLIPTokenizer tokenizer(JsonNode files, Path folder) throws IOException {
    Path source = Golden.SD15.resolve("tokenizer");
    for (String name : List.of("vocab.json", "merges.txt", "tokenizer_config.json")) {
      Files.copy(source.resolve(name), folder.resolve(name), StandardCopyOption.REPLACE_EXISTING);
    }
    for (var file : files.properties()) {
      JsonNode content = file.getValue();
      if (file.getKey().equals("tokenizer.json")) { // its added tokens alone
        ObjectNode whole = Json.readObject(source.resolve("tokenizer.json"));
        content = whole.set("added_tokens", content);
      }
      Json.write(folder.resolve(file.getKey()), content);
    }
    return CLIPTokenizer.load(folder);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("cases")
  void readsTextsAsTheReference(String name, JsonNode reference, @TempDir Path folder)
      throws IOException {
    CLIPTokenizer tokenizer = tokenizer(reference.path("files"), folder);
    assertThat(tokenizer.size()).isEqualTo(reference.path("size").asInt());
    for (JsonNode text : reference.path("texts")) {
      List<Integer> ids = new ArrayList<>();
      text.path("ids").forEach(id -> ids.add(id.asInt()));
      assertThat(tokenizer.tokens(text.path("text").asText()))
          .as(text.path("text").toString())
          .isEqualTo(ids);
    }
    Path again = folder.resolve("again");
    tokenizer.save(again);
    assertThat(CLIPTokenizer.load(again).size()).isEqualTo(tokenizer.size());
  }

  /** As textual_inversion.py of diffusers leaves a folder. */
  @Test
  void placeholdersOfSeveralVectorsAreWrittenOut(@TempDir Path folder) throws IOException {
    CLIPTokenizer tokenizer =
        tokenizer(
            Json.MAPPER.readTree(
                "{\"added_tokens.json\": {\"<c>\": 3514, \"<c>_1\": 3515, \"<c>_2\": 3516}}"),
            folder);
    assertThat(tokenizer.tokens("a <c> here")).containsExactly(320, 3514, 3515, 3516, 763);
    assertThat(tokenizer.tokens("a <C> here")).containsExactly(320, 3514, 763); // as diffusers
    assertThat(tokenizer.tokens("a <c>_1 here")).containsExactly(320, 3515, 763);
    assertThat(tokenizer.with(List.of("dog")).tokens("<c> dog"))
        .containsExactly(3514, 3515, 3516, 3517);
  }

  @Test
  void longWordsTakeNoLongerThanManyWords() {
    assertTimeoutPreemptively(
        Duration.ofSeconds(60), // a few tenths; by trying all pairs for every merge, half an hour
        () -> {
          CLIPTokenizer tokenizer = CLIPTokenizer.standard("!");
          assertThat(tokenizer.tokens("ab".repeat(100_000))).hasSizeGreaterThan(40_000);
          assertThat(tokenizer.tokens("a".repeat(200_000))).hasSizeGreaterThan(1_000);
          String marks = "\u0301\u0323".repeat(100_000); // to be sorted, as no word ever was
          assertThat(tokenizer.tokens("a" + marks)).hasSizeGreaterThan(100_000);
        });
  }

  /** Placeholders of many vectors whose names have each other's in them. */
  @Test
  void placeholdersCannotUnfoldAPromptWithoutEnd(@TempDir Path folder) throws IOException {
    ObjectNode added = Json.MAPPER.createObjectNode();
    for (String name : List.of("x", "_", "y")) {
      added.put(name, 0);
      for (int i = 1; i < 75; i++) {
        added.put(name + "_" + i, 0);
      }
    }
    ObjectNode vocabulary = Json.readObject(Golden.SD15.resolve("tokenizer/vocab.json"));
    int next = vocabulary.size();
    for (String name : List.copyOf(fieldNames(added))) {
      added.put(name, vocabulary.has(name) ? vocabulary.get(name).asInt() : next++);
    }
    CLIPTokenizer tokenizer =
        tokenizer(Json.MAPPER.createObjectNode().set("added_tokens.json", added), folder);
    assertThat(tokenizer.tokens("x y")).hasSizeGreaterThan(75);
    assertThatThrownBy(() -> tokenizer.tokens("xy_".repeat(20_000)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("10,000,000 are the most");
  }

  private static List<String> fieldNames(JsonNode node) {
    List<String> names = new ArrayList<>();
    node.fieldNames().forEachRemaining(names::add);
    return names;
  }

  // ---------------------------------------------------------------- damaged files

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      value = {
        "vocab.json | {'a': -1} | token 'a' has id -1, expected 0 to 0",
        "vocab.json | {'a': 0, 'b': 0} | token 'b' has id 0",
        "vocab.json | {'a': 0, 'b': 2} | token 'b' has id 2, expected 0 to 1",
        "vocab.json | {'a': 0.5} | token 'a' has id 0.5",
        "vocab.json | {'a': '0'} | token 'a' has id \"0\"",
        "vocab.json | {} | expected 1 to 1,000,000 tokens",
        "vocab.json | [] | vocab.json: expected a JSON object, got []",
        "vocab.json | null | vocab.json: expected a JSON object, got null",
        "merges.txt | abc | merges: got 'abc', expected two symbols",
        "tokenizer_config.json | [] | tokenizer_config.json: expected a JSON object, got []",
        "tokenizer_config.json | null | tokenizer_config.json: expected a JSON object, got null",
        "tokenizer_config.json | 'x' | tokenizer_config.json: expected a JSON object, got \"x\"",
        "tokenizer_config.json | {'bos_token': ''} | an added token without text",
        "tokenizer_config.json | {'bos_token': 7} | got the token 7, expected its text",
        "tokenizer_config.json | {'model_max_length': 1} | model_max_length: got 1, needs 2 or more",
        "tokenizer_config.json | {'model_max_length': 'x'} | model_max_length: got \"x\"",
        "tokenizer_config.json | {'added_tokens_decoder': {'x': {'content': 'a'}}} | has id x",
        "tokenizer_config.json | {'added_tokens_decoder': {'3600': {'content': '<a>'}}} | has a gap",
        "added_tokens.json | {'<cat-toy>': 3600} | added token '<cat-toy>' has id 3600, but 3514 is the next",
        "added_tokens.json | {'<cat-toy>': -1} | has id -1, expected a whole number",
        "added_tokens.json | {'': 3514} | an added token without text",
        "added_tokens.json | {'a</w>': 3514} | but 320 is its own",
        "added_tokens.json | [1] | added_tokens.json: expected a JSON object",
        "tokenizer.json | {'model': {'type': 'Unigram', 'vocab': [['a', 0]]}} | got a \"Unigram\"",
        "tokenizer.json | {} | tokenizer.json: expected 1 to 1,000,000 tokens",
      })
  void damagedFilesAreNamed(String file, String content, String problem, @TempDir Path folder)
      throws IOException {
    tokenizer(Json.MAPPER.createObjectNode(), folder);
    Files.writeString(folder.resolve(file), content.replace('\'', '"'));
    assertThatThrownBy(() -> CLIPTokenizer.load(folder))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith(folder.toString())
        .hasMessageContaining(problem);
  }
}
