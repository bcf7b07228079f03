package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.perflow.distill.perflow.PerflowOptions;
import org.perflow.tensor.Rng;

class MixedCaptionsTest {
  private static final List<String> WRITTEN =
      List.of(
          "fluent emoji of red heart, heart, love, red",
          "fluent emoji of green letter, green, love, mail",
          "fluent emoji of rocket, launch, space",
          "fluent emoji of camel, animal, desert",
          "fluent emoji of cat face, animal, cat, face");

  @Test
  void newCaptionsAreMadeOfTwoWrittenOnesAndTheSameForTheSameSeed() {
    try (Rng rng = Rng.seeded(3);
        Rng again = Rng.seeded(3)) {
      MixedCaptions mixed = new MixedCaptions(WRITTEN, List.of());
      Set<String> words = Set.copyOf(List.of(String.join(", ", WRITTEN).split("[, ]+")));
      Set<String> composed = new HashSet<>();
      for (int i = 0; i < 10000; i++) {
        String caption = mixed.compose(rng);
        assertThat(mixed.compose(again)).isEqualTo(caption);
        assertThat(caption.split("[, ]+")).isSubsetOf(words);
        assertThat(tags(caption)).isSorted();
        composed.add(caption);
      }
      assertThat(composed)
          .as("an exchanged word is exchanged in label and tags; a tag becomes a label")
          .contains("fluent emoji of green heart, green, heart, love", "fluent emoji of desert");
    }
  }

  private static List<String> tags(String caption) {
    List<String> pieces = List.of(caption.split(", "));
    return pieces.subList(1, pieces.size());
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
          .as("an eighth of the labels' exchanged words and of a quarter of the tags")
          .isBetween(90L, 220L);
    }
  }

  @Test
  void theyNeedSimulatedStarts() {
    assertThatThrownBy(() -> PerflowOptions.DEFAULTS.withMixedCaptions(0.5))
        .hasMessageContaining("need simulatedStarts");
  }
}
