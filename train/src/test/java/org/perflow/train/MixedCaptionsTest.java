package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.perflow.models.CLIPTextModel;
import org.perflow.models.CLIPTokenizer;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class MixedCaptionsTest {
  private static final Path TEACHER = Path.of("../models/emoji-64");
  private static final List<String> WRITTEN =
      List.of(
          "fluent emoji of red apple, fruit, tree",
          "fluent emoji of rocket, space, launch, travel",
          "fluent emoji of cat face, pet, animal");

  @Test
  void newCaptionsAreMadeOfWrittenPiecesAndTheSameForTheSameSeed() throws Exception {
    try (DiffusionModel teacher = DiffusionModel.load(TEACHER, DType.F32);
        Rng rng = Rng.seeded(3);
        Rng again = Rng.seeded(3)) {
      MixedCaptions mixed = mixed(teacher.tokenizer(), teacher.textEncoder(), WRITTEN);
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
  void captionsWithoutCommasAreMixedWordByWord() throws Exception {
    try (DiffusionModel teacher = DiffusionModel.load(TEACHER, DType.F32);
        Rng rng = Rng.seeded(0)) {
      List<String> prose = List.of("a small dog", "the big house");
      MixedCaptions mixed = mixed(teacher.tokenizer(), teacher.textEncoder(), prose);
      Set<String> composed = new TreeSet<>();
      for (int i = 0; i < 100; i++) {
        composed.add(mixed.compose(rng));
      }
      assertThat(composed).contains("a big dog", "the small house");
    }
  }

  @Test
  void statesAreTheTextEncodersInTheTypeAskedFor() throws Exception {
    try (DiffusionModel teacher = DiffusionModel.load(TEACHER, DType.F32);
        Rng rng = Rng.seeded(1);
        Rng again = Rng.seeded(1);
        Scope scope = Scope.open()) {
      MixedCaptions mixed = mixed(teacher.tokenizer(), teacher.textEncoder(), WRITTEN);
      Tensor states = mixed.draw(2, rng);
      mixed.compose(again);
      long[] ids = teacher.tokenizer().encode(mixed.compose(again));
      Tensor second =
          teacher.textEncoder().forward(Tensor.of(ids, 1, ids.length)).lastHiddenState();
      assertThat(states.dtype()).isEqualTo(DType.BF16);
      float[] expected = second.to(DType.BF16).to(DType.F32).reshape(-1).toFloatArray();
      float[] got = states.narrow(0, 1, 1).to(DType.F32).reshape(-1).toFloatArray();
      assertThat(got).hasSameSizeAs(expected);
      for (int i = 0; i < got.length; i++) {
        assertThat(got[i]).isCloseTo(expected[i], org.assertj.core.data.Offset.offset(0.05f));
      }
    }
  }

  @Test
  void theyNeedSimulatedStarts() {
    assertThatThrownBy(() -> PerflowOptions.DEFAULTS.with("mixedCaptions", 0.5))
        .hasMessageContaining("need simulatedStarts");
  }

  private static MixedCaptions mixed(
      CLIPTokenizer tokenizer, CLIPTextModel text, List<String> captions) {
    return new MixedCaptions(tokenizer, text, DType.BF16, captions);
  }
}
