package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.perflow.tensor.Rng;

class MixedCaptionsTest {
  private static final List<String> WRITTEN =
      List.of(
          "fluent emoji of red apple, fruit, tree",
          "fluent emoji of rocket, space, launch, travel",
          "fluent emoji of cat face, pet, animal");

  @Test
  void newCaptionsAreMadeOfTwoWrittenOnesAndTheSameForTheSameSeed() {
    List<String> written =
        List.of(
            "fluent emoji of green heart, green, love",
            "fluent emoji of red book, read, green",
            "fluent emoji of rocket, space",
            "fluent emoji of cat face, pet");
    try (Rng rng = Rng.seeded(3);
        Rng again = Rng.seeded(3)) {
      MixedCaptions mixed = new MixedCaptions(written, List.of());
      Set<String> words = Set.copyOf(List.of(String.join(", ", written).split("[, ]+")));
      Set<String> composed = new HashSet<>();
      int related = 0;
      for (int i = 0; i < 4000; i++) {
        String caption = mixed.compose(rng);
        assertThat(mixed.compose(again)).isEqualTo(caption);
        assertThat(caption.split("[, ]+")).isSubsetOf(words);
        composed.add(caption.replace("fluent emoji of ", ""));
        related += caption.contains("heart") && caption.contains("read") ? 1 : 0;
      }
      assertThat(composed).hasSizeGreaterThan(50).contains("green book, read, love", "red heart");
      assertThat(related).as("of two that share a word").isGreaterThan(100);
    }
  }

  @Test
  void captionsWithoutCommasAreMixedWordByWord() {
    try (Rng rng = Rng.seeded(0)) {
      List<String> prose = List.of("a small dog", "the big house");
      MixedCaptions mixed = new MixedCaptions(prose, List.of());
      Set<String> composed = new TreeSet<>();
      for (int i = 0; i < 1000; i++) {
        composed.add(mixed.compose(rng));
      }
      assertThat(composed).contains("a big dog", "the small house");
    }
  }

  @Test
  void wordsThatTheDataNeverUsesStandInSomeOfThem() {
    try (Rng rng = Rng.seeded(0)) {
      MixedCaptions mixed = new MixedCaptions(WRITTEN, List.of("zeppelin"));
      List<String> composed = mixed.draw(1000, rng);
      assertThat(composed.stream().filter(caption -> caption.contains("zeppelin")).count())
          .as("a sixteenth of the pieces, of which half of the wordings keep one")
          .isBetween(90L, 180L);
    }
  }

  @Test
  void theyNeedSimulatedStarts() {
    assertThatThrownBy(() -> PerflowOptions.DEFAULTS.with("mixedCaptions", 0.5))
        .hasMessageContaining("need simulatedStarts");
  }
}
