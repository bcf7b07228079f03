package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
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
}
