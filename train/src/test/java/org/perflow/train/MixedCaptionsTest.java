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
  void newCaptionsAreMadeOfWrittenPiecesAndTheSameForTheSameSeed() {
    try (Rng rng = Rng.seeded(3);
        Rng again = Rng.seeded(3)) {
      MixedCaptions mixed = new MixedCaptions(WRITTEN, List.of());
      Set<String> composed = new HashSet<>();
      Set<String> pieces = new TreeSet<>();
      for (int i = 0; i < 200; i++) {
        String caption = mixed.compose(rng);
        assertThat(mixed.compose(again)).isEqualTo(caption);
        composed.add(caption);
        pieces.addAll(List.of(caption.replace("fluent emoji of ", "").split(", ")));
      }
      assertThat(pieces)
          .containsExactlyInAnyOrder(
              "red apple",
              "fruit",
              "tree",
              "rocket",
              "space",
              "launch",
              "travel",
              "cat face",
              "pet",
              "animal");
      assertThat(composed).hasSizeGreaterThan(50).doesNotContain("");
    }
  }

  @Test
  void captionsWithoutCommasAreMixedWordByWord() {
    try (Rng rng = Rng.seeded(0)) {
      List<String> prose = List.of("a small dog", "the big house");
      MixedCaptions mixed = new MixedCaptions(prose, List.of());
      Set<String> composed = new TreeSet<>();
      for (int i = 0; i < 100; i++) {
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
          .isBetween(190L, 290L); // an eighth of the pieces, of which half of the wordings keep one
    }
  }

  @Test
  void theyNeedSimulatedStarts() {
    assertThatThrownBy(() -> PerflowOptions.DEFAULTS.with("mixedCaptions", 0.5))
        .hasMessageContaining("need simulatedStarts");
  }
}
