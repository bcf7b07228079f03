package org.perflow.train;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.perflow.io.Sample;
import org.perflow.models.CLIPTokenizer;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Token ids of all captions in four wordings each, of which training draws one: a model should
 * understand "red apple" as well as "fluent emoji of red apple, fruit, tree". Owns its native
 * memory.
 */
public final class Captions implements AutoCloseable {
  /** Wordings of a caption. */
  public static final int VARIANTS = 4;

  private static final Pattern TEMPLATE =
      Pattern.compile("(.+ emoji of |picture of (?:an? )?)([^,]+)((?:,.*)?)");

  private final Tensor ids; // [N * VARIANTS + 1, L] int64, the last of the empty caption

  private Captions(Tensor ids) {
    this.ids = ids;
  }

  /** Encodes them. */
  public static Captions of(CLIPTokenizer tokenizer, List<Sample> samples) {
    int length = tokenizer.length();
    int rows = samples.size() * VARIANTS + 1;
    long[] all = new long[rows * length];
    int at = 0;
    for (String text : texts(samples)) {
      System.arraycopy(tokenizer.encode(text), 0, all, at, length);
      at += length;
    }
    System.arraycopy(tokenizer.encode(""), 0, all, at, length);
    try (Scope scope = Scope.open()) {
      return new Captions(scope.release(Tensor.of(all, rows, length)));
    }
  }

  /** All wordings of all captions, {@link #VARIANTS} for each in turn. */
  public static List<String> texts(List<Sample> samples) {
    return samples.stream().flatMap(sample -> variants(sample.caption()).stream()).toList();
  }

  /**
   * "STYLE emoji of LABEL, TAGS" as it is, LABEL, "STYLE emoji of LABEL", "LABEL, TAGS"; "picture
   * of a LABEL, TAGS" likewise; a caption of another form four times.
   */
  static List<String> variants(String caption) {
    Matcher matcher = TEMPLATE.matcher(caption.strip());
    if (!matcher.matches()) {
      return List.of(caption, caption, caption, caption);
    }
    String label = matcher.group(2);
    return List.of(caption, label, matcher.group(1) + label, label + matcher.group(3));
  }

  /** How many captions, wordings not counted. */
  public int size() {
    return (int) ids.size(0) / VARIANTS;
  }

  /** All wordings and, last, the empty caption: int64 [N * VARIANTS + 1, L]. */
  public Tensor ids() {
    return ids;
  }

  /** Row of the empty caption. */
  public long empty() {
    return ids.size(0) - 1;
  }

  /**
   * Rows of {@link #texts} and {@link #ids}: one wording for each example, drawn. In the caller's
   * scope.
   */
  public static Tensor rows(long[] examples, Rng rng) {
    long[] rows;
    try (Scope scope = Scope.open()) {
      rows = Tensor.randint(rng, VARIANTS, examples.length).toLongArray();
    }
    for (int i = 0; i < rows.length; i++) {
      rows[i] += VARIANTS * examples[i];
    }
    return Tensor.of(rows);
  }

  @Override
  public void close() {
    ids.close();
  }
}
