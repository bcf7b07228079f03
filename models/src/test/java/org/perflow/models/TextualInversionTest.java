package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.io.FormatException;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** Against what diffusers reads with the same files (tools/golden_embeddings.py). */
class TextualInversionTest {
  private static final Path FILES = Golden.ROOT.resolve("embeddings");
  private static final Path SDXL = Golden.ROOT.resolve("models/sdxl");

  @TempDir Path folder;

  private static String prompt(String key) throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(FILES.resolve("expected.safetensors"))) {
      return file.metadata().get(key);
    }
  }

  private static Tensor expected(String name) {
    return Golden.read("embeddings/expected.safetensors", name);
  }

  @ParameterizedTest
  @CsvSource({
    "learned_embeds.safetensors, <cat-toy>, 1",
    "several.bin, <dog-toy>, 3",
    "a1111.pt, bad-hands, 2",
    "parameterdict.pt, older, 2",
    "easynegative.safetensors, easynegative, 3",
    "xl-style.safetensors, xl-style, 2",
    "'', <cat-toy>, 1", // the folder
  })
  void readsEveryPublishedForm(String file, String token, int count) throws IOException {
    try (TextualInversion read = TextualInversion.read(FILES.resolve(file));
        TextualInversion named = TextualInversion.read(FILES.resolve(file), "<toy>")) {
      assertThat(read.token()).isEqualTo(token);
      assertThat(named.token()).isEqualTo("<toy>");
      assertThat(read.count()).isEqualTo(count);
      assertThat(read.isXl()).isEqualTo(token.startsWith("xl"));
    }
  }

  @Test
  void promptsAreReadAsByDiffusers() throws IOException {
    List<TextualInversion> inversions = new ArrayList<>();
    for (String file :
        List.of(
            "learned_embeds.safetensors",
            "several.bin",
            "a1111.pt",
            "parameterdict.pt",
            "easynegative.safetensors")) {
      inversions.add(TextualInversion.read(FILES.resolve(file)));
    }
    try (DiffusionModel model = DiffusionModel.load(Golden.SD15, DType.F32);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor plain = read(model, "a toy");
      try (AppliedEmbeddings applied = AppliedEmbeddings.apply(model, inversions)) {
        inversions.forEach(TextualInversion::close);
        DiffusionModel with = applied.model();
        assertThat(with.tokenizer().encode(prompt("prompt")))
            .isEqualTo(expected("ids").reshape(-1).toLongArray());
        Golden.assertClose(read(with, prompt("prompt")), expected("embeds"));
        with.save(folder.resolve("whole"), DType.F32, Map.of());
      }
      assertThat(read(model, "a toy").toFloatArray()).isEqualTo(plain.toFloatArray());
      assertThat(model.textEncoder().config().vocabSize()).isEqualTo(3514);
      try (DiffusionModel whole = DiffusionModel.load(folder.resolve("whole"), DType.F32)) {
        Golden.assertClose(read(whole, prompt("prompt")), expected("embeds")); // they are in it
      }
    }
  }

  private static Tensor read(DiffusionModel model, String prompt) {
    Tensor ids = Tensor.of(model.tokenizer().encode(prompt)).reshape(1, -1);
    return model.textEncoder().forward(ids).lastHiddenState();
  }

  @Test
  void promptsOfXlAreReadAsByDiffusers() throws IOException {
    try (DiffusionModel model = DiffusionModel.load(SDXL, DType.F32);
        TextualInversion style = TextualInversion.read(FILES.resolve("xl-style.safetensors"));
        AppliedEmbeddings applied = AppliedEmbeddings.apply(model, List.of(style));
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      DiffusionModel.Second second = applied.model().second();
      Tensor ids = Tensor.of(applied.model().tokenizer().encode(prompt("xl_prompt")));
      Tensor ids2 = Tensor.of(second.tokenizer().encode(prompt("xl_prompt")));
      var one = applied.model().textEncoder().forward(ids.reshape(1, -1));
      var two = second.textEncoder().forward(ids2.reshape(1, -1), DType.F32);
      int layer = one.hiddenStates().size() - 2;
      Tensor states = Tensor.cat(2, one.hiddenStates().get(layer), two.hiddenStates().get(layer));
      Golden.assertClose(states, expected("xl_embeds"));
      Golden.assertClose(two.textEmbeds(), expected("xl_pooled"));
    }
  }

  @Test
  void whatDoesNotFitIsNamed() throws IOException {
    try (DiffusionModel model = DiffusionModel.load(Golden.SD15, DType.F32);
        DiffusionModel xl = DiffusionModel.load(SDXL, DType.F32);
        TextualInversion style = TextualInversion.read(FILES.resolve("xl-style.safetensors"));
        TextualInversion toy = TextualInversion.read(FILES.resolve("learned_embeds.safetensors"));
        TextualInversion known =
            TextualInversion.read(FILES.resolve("learned_embeds.safetensors"), "cat")) {
      assertThatThrownBy(() -> AppliedEmbeddings.apply(model, List.of(style)))
          .hasMessageContaining("xl-style.safetensors does not fit this model: it is for SDXL");
      assertThatThrownBy(() -> AppliedEmbeddings.apply(xl, List.of(toy)))
          .hasMessageContaining("learned_embeds.safetensors does not fit this model");
      assertThatThrownBy(() -> AppliedEmbeddings.apply(model, List.of(toy, toy)))
          .hasMessageContaining("the tokenizer knows '<cat-toy>' already");
      assertThatThrownBy(() -> AppliedEmbeddings.apply(model, List.of(known)))
          .hasMessageContaining("the tokenizer knows 'cat' already");
      AppliedEmbeddings.apply(model, List.of(toy)).close(); // nothing was changed
      assertThatThrownBy(() -> model.withTokenizers(model.tokenizer().with(List.of("<x>")), null))
          .hasMessageContaining("the tokenizer knows 3515 tokens")
          .hasMessageContaining("the text encoder's embedding has 3514 rows (vocab_size)");
    }
  }

  @Test
  void everyValueAndShapeIsChecked() throws IOException {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(1)) {
      Tensor vector = Tensor.randn(rng, 32);
      assertRefused(Map.of("<a>", vector.mul(Double.NaN)), "'<a>' holds NaN or infinite values");
      assertRefused(Map.of("<a>", Tensor.randn(rng, 2, 2, 2)), "'<a>' is F32[2, 2, 2]");
      assertRefused(Map.of("<a>", Tensor.randn(rng, 76, 2)), "expected 1 to 75 vectors");
      assertRefused(Map.of("<a>", Tensor.full(1, 0, 2)), "expected 1 to 75 vectors");
      assertRefused(Map.of("<a>", Tensor.arange(4)), "of a floating type");
      assertRefused(Map.of("<a>", vector, "<b>", vector), "no textual inversion: expected one");
      assertRefused(Map.of("", vector), "its placeholder has 0 characters");
      assertRefused(Map.of("a b", vector), "without blanks");
      assertRefused(Map.of("\u001b[2J", vector), "without blanks");
      assertRefused(
          Map.of("clip_l", vector, "clip_g", Tensor.randn(rng, 2, 4)),
          "clip_l and clip_g differ in the number of vectors");
    }
    Path empty = Files.createDirectory(folder.resolve("empty"));
    assertThatThrownBy(() -> TextualInversion.read(empty))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("learned_embeds.safetensors is missing");
  }

  private void assertRefused(Map<String, Tensor> tensors, String problem) throws IOException {
    Path file = folder.resolve("bad.safetensors");
    SafetensorsWriter.write(file, tensors, Map.of());
    assertThatThrownBy(() -> TextualInversion.read(file))
        .isInstanceOf(FormatException.class)
        .hasMessageContainingAll(file.toString(), problem);
  }
}
