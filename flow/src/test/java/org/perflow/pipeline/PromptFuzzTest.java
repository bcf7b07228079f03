package org.perflow.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.flow.Golden;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;

/** Prompts made at random, from a seed: each is read, or refused by a message, soon. */
class PromptFuzzTest {
  private static final List<String> PARTS =
      List.of(
          "(",
          ")",
          "[",
          "]",
          "((",
          "))",
          ":1.2)",
          ":-3)",
          ":0)",
          ":1e9)",
          ":99999)",
          ":.5)",
          "\\",
          "\\(",
          ":",
          " red ",
          "apple",
          "<|endoftext|>",
          "\u0301",
          "\ud800",
          "\udc00",
          "\u200d",
          "\n",
          "\u0000",
          "\ud83c\udf4e",
          "'s",
          "\u0130",
          "123",
          ", ");

  private static DiffusionModel model;

  private final Random random = new Random(22);

  @BeforeAll
  static void load() throws IOException {
    Device.threads(1);
    model = DiffusionModel.load(Golden.MODELS.resolve("sd15"), DType.F32);
  }

  @AfterAll
  static void free() {
    model.close();
  }

  private String prompt() {
    StringBuilder prompt = new StringBuilder();
    int times = random.nextInt(20) == 0 ? 200 : 1;
    for (int i = random.nextInt(30); i >= 0; i--) {
      prompt.append(
          random.nextInt(8) == 0
              ? Character.toString(random.nextInt(0x110000))
              : PARTS.get(random.nextInt(PARTS.size())).repeat(1 + random.nextInt(times)));
    }
    return prompt.toString();
  }

  private void prompts(int count) {
    int read = 0;
    for (int i = 0; i < count; i++) {
      String prompt = prompt();
      boolean whole = random.nextInt(4) > 0;
      read +=
          assertTimeoutPreemptively(Duration.ofSeconds(30), () -> isRead(prompt, whole)) ? 1 : 0;
    }
    assertThat(read).isBetween(1, count - 1);
  }

  private static boolean isRead(String prompt, boolean whole) {
    PromptEncoder encoder = new PromptEncoder(model, DType.F32, 0, whole);
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      int pieces = encoder.pieces(prompt);
      assertThat(encoder.encode(List.of(prompt), pieces, 64, 64).text().isFinite())
          .as(prompt)
          .isTrue();
      return true;
    } catch (IllegalArgumentException e) {
      assertThat(e.getMessage()).as(prompt).contains("prompt");
      return false;
    }
  }

  @Test
  void promptsAreReadOrRefused() {
    prompts(100);
  }

  @Tag("slow")
  @Test
  void manyPromptsAreReadOrRefused() {
    prompts(10_000);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "( | 100000 | over 100 brackets are open at once",
        "(a | 100000 | over 100 brackets are open at once",
        "(a:1000) | 8000 | a prompt of 8,000 tokens; at most 7,500",
        "a | 100000 | a prompt of 100,000 tokens; at most 7,500",
      })
  void promptsCannotTakeTimeOrMemoryWithoutEnd(String part, int times, String problem) {
    PromptEncoder encoder = new PromptEncoder(model, DType.F32, 0, true);
    String prompt = (part + " ").repeat(times);
    assertTimeoutPreemptively(
        Duration.ofSeconds(30),
        () ->
            assertThatThrownBy(() -> encoder.pieces(prompt))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(problem));
  }

  @Test
  void weightsThatAreNoNumbersAreNamed() {
    for (String weight : List.of("1001", "-1001", "9".repeat(400))) {
      assertThatThrownBy(() -> WeightedText.parse("a (red:" + weight + ")"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("'red' counts")
          .hasMessageContaining("want at most 1000");
    }
    assertThat(WeightedText.parse("(".repeat(50) + "a" + ")".repeat(50))).hasSize(1);
  }
}
