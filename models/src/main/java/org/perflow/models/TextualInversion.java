package org.perflow.models;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.perflow.io.FormatException;
import org.perflow.io.NamedTensors;
import org.perflow.io.WeightFiles;
import org.perflow.models.text.UnicodeTables;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * A textual inversion (Gal et al., arXiv 2208.01618) as it is published: vectors that a placeholder
 * in a prompt stands for, of one text encoder or of XL's two. Owns its tensors until closed.
 * Immutable and thread-safe.
 *
 * <p>Read are the files of diffusers ({@code learned_embeds.safetensors} or {@code .bin}, whose key
 * is the placeholder), of AUTOMATIC1111 ({@code string_to_param}, {@code emb_params}) and of XL
 * ({@code clip_l} and {@code clip_g}).
 */
public final class TextualInversion implements AutoCloseable {
  private static final String FIRST = "clip_l";
  private static final String SECOND = "clip_g";
  private static final int MOST_VECTORS = 75; // that the text encoders read
  private static final int LONGEST = 100;

  private final Path file;
  private final String token;
  private final Map<String, Tensor> vectors;

  private TextualInversion(Path file, String token, Map<String, Tensor> vectors) {
    this.file = file;
    this.token = token;
    this.vectors = vectors;
  }

  /** Reads {@code path} under the placeholder that it names. */
  public static TextualInversion read(Path path) throws IOException {
    return read(path, null);
  }

  /**
   * Reads {@code path}: a file, or a folder with {@code learned_embeds}.
   *
   * @param placeholder what a prompt is to say; null = what the file says, its own name where it
   *     says nothing
   * @throws FormatException where it holds something else, or values that are not finite
   */
  public static TextualInversion read(Path path, @Nullable String placeholder) throws IOException {
    Path file = Files.isDirectory(path) ? WeightFiles.find(path, "learned_embeds") : path;
    try (NamedTensors source = WeightFiles.open(file);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Map<String, Tensor> vectors = new LinkedHashMap<>();
      String said = null;
      Set<String> keys = source.entries().keySet();
      if (keys.equals(Set.of(FIRST, SECOND))) {
        vectors.put(FIRST, vectors(file, source, FIRST));
        vectors.put(SECOND, vectors(file, source, SECOND));
        if (vectors.get(FIRST).size(0) != vectors.get(SECOND).size(0)) {
          throw new FormatException(
              "%s: %s and %s differ in the number of vectors: %s and %s"
                  .formatted(file, FIRST, SECOND, vectors.get(FIRST), vectors.get(SECOND)));
        }
      } else if (keys.size() == 1) {
        String key = keys.iterator().next();
        vectors.put("", vectors(file, source, key));
        boolean names = !Set.of("*", "emb_params", FIRST, SECOND).contains(key);
        said = names ? key : source.metadata().get("name");
      } else {
        throw new FormatException(
            "%s is no textual inversion: expected one tensor, or clip_l and clip_g; it holds %s"
                .formatted(file, keys.stream().limit(10).toList()));
      }
      String token = placeholder != null ? placeholder : said == null ? stem(file) : said;
      checkToken(file, token);
      vectors.values().forEach(scope::release);
      return new TextualInversion(file, token, vectors);
    }
  }

  private static String stem(Path file) {
    return String.valueOf(file.getFileName()).replaceFirst("\\.\\w+$", "");
  }

  /** A text that can stand in a prompt and be printed. */
  private static void checkToken(Path file, String token) throws FormatException {
    boolean plain =
        token.codePoints().noneMatch(c -> Character.isISOControl(c) || UnicodeTables.isSpace(c));
    if (token.isEmpty() || token.length() > LONGEST || !plain) {
      throw new FormatException(
          "%s: its placeholder has %d characters, expected 1 to %d without blanks; give it another name"
              .formatted(file, token.length(), LONGEST));
    }
  }

  /** [n, D]. */
  private static Tensor vectors(Path file, NamedTensors source, String key) throws IOException {
    NamedTensors.Entry entry = source.entry(key);
    long[] shape = entry.shape();
    boolean fits = entry.dtype().isFloating() && (shape.length == 1 || shape.length == 2);
    long count = fits && shape.length == 2 ? shape[0] : 1;
    if (!fits || entry.numel() == 0 || count > MOST_VECTORS) {
      throw new FormatException(
          "%s: '%s' is %s%s, expected 1 to %d vectors of a floating type"
              .formatted(file, key, entry.dtype(), Arrays.toString(shape), MOST_VECTORS));
    }
    Tensor vectors = source.read(key);
    if (!vectors.isFinite()) {
      throw new FormatException(
          file + ": '" + key + "' holds NaN or infinite values; its training diverged");
    }
    return vectors.reshape(count, -1);
  }

  /** Where it was read from. */
  public Path file() {
    return file;
  }

  /** What a prompt says for it. */
  public String token() {
    return token;
  }

  /** Number of vectors. */
  public int count() {
    return (int) vectors.values().iterator().next().size(0);
  }

  /** One token a vector, as diffusers names them: {@code <a>}, {@code <a>_1}, {@code <a>_2}. */
  List<String> tokens() {
    List<String> tokens = new ArrayList<>(List.of(token));
    for (int i = 1; i < count(); i++) {
      tokens.add(token + "_" + i);
    }
    return tokens;
  }

  /** Whether it is for XL's two text encoders. */
  public boolean isXl() {
    return vectors.size() == 2;
  }

  /** Those of a text encoder, [n, D]; they stay this object's. */
  Tensor vectors(boolean second) {
    return vectors.get(isXl() ? second ? SECOND : FIRST : "");
  }

  @Override
  public void close() {
    vectors.values().forEach(Tensor::close);
  }

  @Override
  public String toString() {
    return file.getFileName() + " (" + token + ")";
  }
}
