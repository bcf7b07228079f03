package org.perflow.models;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.io.WeightsKind.Family;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Textual inversions in a model, until closed: their placeholders in its tokenizers and their
 * vectors behind the rows of its embeddings, in copies of them. Not thread-safe; nobody may run the
 * model while they come or go. Close it before the model.
 *
 * <pre>{@code
 * try (DiffusionModel model = DiffusionModel.load(folder, DType.F32);
 *     TextualInversion toy = TextualInversion.read(Path.of("cat-toy.safetensors"));
 *     AppliedEmbeddings applied = AppliedEmbeddings.apply(model, List.of(toy))) {
 *   long[] ids = applied.model().tokenizer().encode("a <cat-toy> on a table");
 * }
 * }</pre>
 */
public final class AppliedEmbeddings implements AutoCloseable {
  private final DiffusionModel source;
  private final DiffusionModel model;
  private final List<Tensor> embeddings;
  private final List<String> placeholders;

  /**
   * A textual inversion's file.
   *
   * @param placeholder what a prompt is to say; null = what the file says
   */
  public record Source(Path file, @Nullable String placeholder) {}

  private AppliedEmbeddings(
      DiffusionModel source,
      DiffusionModel model,
      List<Tensor> embeddings,
      List<String> placeholders) {
    this.source = source;
    this.model = model;
    this.embeddings = embeddings;
    this.placeholders = placeholders;
  }

  /**
   * Reads textual inversions and puts them into {@code model}, as {@link #apply} does.
   *
   * @throws IOException naming the file that cannot be read
   */
  public static AppliedEmbeddings read(DiffusionModel model, List<Source> sources)
      throws IOException {
    List<TextualInversion> inversions = new ArrayList<>();
    try {
      for (Source source : sources) {
        inversions.add(TextualInversion.read(source.file(), source.placeholder()));
      }
      return apply(model, inversions);
    } finally {
      inversions.forEach(TextualInversion::close);
    }
  }

  /**
   * Puts {@code inversions} into {@code model}; the files may be closed afterwards.
   *
   * @throws IllegalArgumentException where one is for another family, or has a placeholder that the
   *     tokenizer knows already, with nothing changed
   */
  public static AppliedEmbeddings apply(DiffusionModel model, List<TextualInversion> inversions) {
    if (inversions.isEmpty()) {
      return new AppliedEmbeddings(model, model, List.of(), List.of());
    }
    DiffusionModel.Second second = model.second();
    CLIPTextModel textEncoder = model.textEncoder();
    CLIPTextModel other = second == null ? null : second.textEncoder().textModel();
    CLIPTokenizer tokenizer =
        extended(model.tokenizer(), textEncoder, inversions, other != null, false);
    CLIPTokenizer otherTokenizer =
        second == null ? null : extended(second.tokenizer(), other, inversions, true, true);
    List<Tensor> embeddings = new ArrayList<>();
    embeddings.add(extend(textEncoder, inversions, false));
    if (other != null) {
      embeddings.add(extend(other, inversions, true));
    }
    return new AppliedEmbeddings(
        model,
        model.withTokenizers(tokenizer, otherTokenizer),
        List.copyOf(embeddings),
        inversions.stream().map(TextualInversion::token).toList());
  }

  private static CLIPTokenizer extended(
      CLIPTokenizer tokenizer,
      CLIPTextModel textEncoder,
      List<TextualInversion> inversions,
      boolean xl,
      boolean second) {
    CLIPTokenizer extended = tokenizer;
    for (TextualInversion inversion : inversions) {
      long width = inversion.vectors(second).size(1);
      long wanted = textEncoder.config().hiddenSize();
      if (inversion.isXl() != xl || width != wanted) {
        throw new IllegalArgumentException(
            "%s does not fit this model: it is for %s, its vectors have %d elements; the text encoder reads %d"
                .formatted(inversion.file(), family(inversion, width), width, wanted));
      }
      for (String token : inversion.tokens()) {
        if (extended.knows(token)) {
          throw new IllegalArgumentException(
              "%s: the tokenizer knows '%s' already; give it another name, as in toy=%s"
                  .formatted(inversion.file(), token, inversion.file().getFileName()));
        }
      }
      extended = extended.with(inversion.tokens());
    }
    return extended;
  }

  private static String family(TextualInversion inversion, long width) {
    Family family = inversion.isXl() ? Family.SDXL : Family.ofTextWidth(width);
    return family == null ? "SD-1.x or SD-2.x" : family.label();
  }

  private static Tensor extend(
      CLIPTextModel textEncoder, List<TextualInversion> inversions, boolean second) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor[] rows =
          inversions.stream().map(inversion -> inversion.vectors(second)).toArray(Tensor[]::new);
      return scope.release(textEncoder.extend(rows));
    }
  }

  /**
   * The model that reads the placeholders; it shares all weights with the one they were put into.
   */
  public DiffusionModel model() {
    return model;
  }

  /** What a prompt says for them, in their order. */
  public List<String> placeholders() {
    return placeholders;
  }

  /** Gives the model its own embeddings back. */
  @Override
  public void close() {
    if (embeddings.isEmpty()) {
      return;
    }
    source.textEncoder().restore();
    if (source.second() != null) {
      source.second().textEncoder().textModel().restore();
    }
    embeddings.forEach(Tensor::close);
  }
}
