package org.perflow.pipeline;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Conditioning;
import org.perflow.models.AddedConditions;
import org.perflow.models.CLIPTextModel;
import org.perflow.models.CLIPTextModelWithProjection;
import org.perflow.models.CLIPTokenizer;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;

/**
 * Prompts as a U-Net reads them: the last hidden states of Stable Diffusion 1 and 2, or the last
 * but one of XL's two encoders side by side, and its pooled output. Results belong to the caller's
 * scope.
 *
 * <p>A weight multiplies the states of its tokens. All states are then scaled to the mean they had
 * without weights, where they have one that stands out of rounding.
 *
 * @param clipSkip layers left out at the end of the text encoder
 * @param longPrompts read prompts of any length in pieces of 75 tokens, and {@link WeightedText}
 */
public record PromptEncoder(
    DiffusionModel model, DType compute, int clipSkip, boolean longPrompts) {
  private static final int MOST_PIECES = 100; // every step attends to all of them

  /** As the families were trained: every layer, one piece of text, in float32. */
  public static PromptEncoder of(DiffusionModel model) {
    return new PromptEncoder(model, DType.F32, 0, false);
  }

  /** One prompt as an encoder gets it: pieces, and how much each token counts. */
  private record Ids(List<long[]> pieces, float[] weights) {}

  /** Pieces of 75 tokens that {@code prompt} takes: 1 where long prompts are cut off. */
  int pieces(@Nullable String prompt) {
    return longPrompts && prompt != null ? ids(model.tokenizer(), prompt, 1).pieces().size() : 1;
  }

  /**
   * What the encoders make of {@code prompts}, each distinct one encoded once.
   *
   * @param prompts null for a prompt that was not given: "", or zeros where the model says so
   * @param pieces of 75 tokens to fill up to, at least what each takes
   * @param height of the pictures in pixels, which XL is told
   */
  public Conditioning encode(List<@Nullable String> prompts, int pieces, int height, int width) {
    List<@Nullable String> distinct = new ArrayList<>(new LinkedHashSet<>(prompts));
    List<String> texts =
        distinct.stream().map(text -> Objects.requireNonNullElse(text, "")).toList();
    long[] rows = prompts.stream().mapToLong(distinct::indexOf).toArray();
    List<Ids> first = texts.stream().map(text -> ids(model.tokenizer(), text, pieces)).toList();
    DiffusionModel.Second second = model.second();
    if (second == null) {
      Tensor states = whole(states(model.textEncoder().forward(batch(first), compute)), first);
      return new Conditioning(states.indexSelect(0, Tensor.of(rows).to(states.device())), null);
    }
    List<Ids> ids = texts.stream().map(text -> ids(second.tokenizer(), text, pieces)).toList();
    var output = second.textEncoder().forward(batch(ids), compute);
    Tensor one = hidden(model.textEncoder().forward(batch(first), compute).hiddenStates());
    Tensor states =
        Tensor.cat(-1, whole(one, first), whole(hidden(output.hiddenStates()), ids)); // [N, L, D]
    Tensor pooled = pooled(output, ids.size()); // [N, P]
    if (second.forceZerosForEmptyPrompt()) {
      states = zeroWhereNull(states, distinct);
      pooled = zeroWhereNull(pooled, distinct);
    }
    Tensor index = Tensor.of(rows).to(states.device());
    Tensor sizes = timeIds(prompts.size(), height, width).to(states.device());
    return new Conditioning(
        states.indexSelect(0, index), new AddedConditions(pooled.indexSelect(0, index), sizes));
  }

  /** Never cropped, drawn as large as its original: {@code time_ids} as diffusers' by default. */
  private static Tensor timeIds(int batch, int height, int width) {
    return Tensor.of(new float[] {height, width, 0, 0, height, width}, 1, 6).expand(batch, 6);
  }

  private Ids ids(CLIPTokenizer tokenizer, String prompt, int pieces) {
    if (!longPrompts) {
      long[] ids = tokenizer.encode(prompt);
      float[] ones = new float[ids.length];
      Arrays.fill(ones, 1);
      return new Ids(List.of(ids), ones);
    }
    List<Integer> tokens = new ArrayList<>();
    List<Double> weights = new ArrayList<>();
    for (WeightedText piece : WeightedText.parse(prompt)) {
      for (int token : tokenizer.tokens(piece.text())) {
        tokens.add(token);
        weights.add(piece.weight());
      }
    }
    int room = tokenizer.length() - 2; // begin and end of text take two
    int count = Math.max(pieces, (tokens.size() + room - 1) / room);
    if (count > MOST_PIECES) {
      throw new IllegalArgumentException(
          "a prompt of %,d tokens; at most %,d are read (%d pieces of %d)"
              .formatted(tokens.size(), MOST_PIECES * room, MOST_PIECES, room));
    }
    List<long[]> all = new ArrayList<>();
    float[] each = new float[count * tokenizer.length()];
    Arrays.fill(each, 1);
    for (int i = 0; i < count; i++) {
      int from = Math.min(tokens.size(), i * room);
      int to = Math.min(tokens.size(), from + room);
      all.add(tokenizer.frame(tokens.subList(from, to)));
      for (int token = from; token < to; token++) {
        each[i * tokenizer.length() + 1 + token - from] = weights.get(token).floatValue();
      }
    }
    return new Ids(all, each);
  }

  /** All pieces of all prompts, [N · pieces, L] int64. */
  private static Tensor batch(List<Ids> ids) {
    return Tensor.stack(
        0, ids.stream().flatMap(each -> each.pieces().stream()).map(Tensor::of).toList());
  }

  private Tensor states(CLIPTextModel.Output output) {
    if (clipSkip == 0) {
      return output.lastHiddenState();
    }
    return model.textEncoder().normalise(skipped(output.hiddenStates(), 1));
  }

  private Tensor hidden(List<Tensor> states) {
    return skipped(states, 2); // XL was trained on the last but one
  }

  private Tensor skipped(List<Tensor> states, int fromEnd) {
    int index = states.size() - fromEnd - clipSkip;
    if (index < 1) {
      throw new IllegalArgumentException(
          "clip skip is %d, but this text encoder has %d layers; want 0 to %d"
              .formatted(clipSkip, states.size() - 1, states.size() - fromEnd - 1));
    }
    return states.get(index);
  }

  /** [N · pieces, 77, D] to [N, pieces · 77, D], tokens weighted. */
  private static Tensor whole(Tensor states, List<Ids> ids) {
    Tensor joined = states.reshape(ids.size(), -1, states.size(2));
    if (ids.stream().allMatch(each -> isOne(each.weights()))) {
      return joined;
    }
    List<Tensor> weighted = new ArrayList<>();
    for (int i = 0; i < ids.size(); i++) {
      Tensor plain = joined.narrow(0, i, 1);
      float[] weights = ids.get(i).weights();
      weighted.add(isOne(weights) ? plain : weigh(plain, weights));
    }
    return Tensor.cat(0, weighted);
  }

  /**
   * States [1, L, D], each token times its weight, brought back to their mean, as the U-Net was
   * trained on no other: AUTOMATIC1111's rule (modules/sd_emphasis.py, "Original"). States without
   * a mean, before or after, are weighted alone (its "No norm"): the ratio of two rounding errors
   * would blow the prompt up or wipe it out.
   */
  private static Tensor weigh(Tensor states, float[] weights) {
    Tensor each = Tensor.of(weights, 1, weights.length, 1).to(states.dtype()).to(states.device());
    Tensor scaled = states.mul(each);
    Tensor before = mean(states);
    Tensor after = mean(scaled);
    Tensor kept = scaled.to(DType.F32).mul(before.div(after)).to(states.dtype());
    return Tensor.where(before.eq(0), scaled, Tensor.where(after.eq(0), scaled, kept));
  }

  /**
   * Mean of {@code states}, a float32 scalar, or 0 where it is none but rounding's. Rounding n
   * values to bfloat16 moves their mean by about 2⁻⁹/√n of their mean magnitude, 10⁻⁴ in the
   * smallest encoders, and float32 by far less; the means of trained encoders are hundredths to
   * tenths.
   */
  private static Tensor mean(Tensor states) {
    Tensor exact = states.to(DType.F32);
    Tensor mean = exact.mean();
    Tensor rounding = mean.abs().sub(exact.abs().mean().mul(1e-3)).lt(0);
    return Tensor.where(rounding, mean.mul(0), mean);
  }

  private static boolean isOne(float[] weights) {
    for (float weight : weights) {
      if (weight != 1) {
        return false;
      }
    }
    return true;
  }

  /** The whole text's vector is its first piece's. */
  private static Tensor pooled(CLIPTextModelWithProjection.Output output, int prompts) {
    Tensor embeds = output.textEmbeds(); // [N · pieces, P]
    return embeds.reshape(prompts, -1, embeds.size(1)).select(1, 0);
  }

  private static Tensor zeroWhereNull(Tensor rows, List<@Nullable String> prompts) {
    List<Tensor> kept = new ArrayList<>();
    for (int i = 0; i < prompts.size(); i++) {
      Tensor row = rows.narrow(0, i, 1);
      kept.add(prompts.get(i) == null ? row.mul(0) : row);
    }
    return Tensor.cat(0, kept);
  }

  /** The words at the end of {@code text} that {@link CLIPTokenizer#encode} leaves out. */
  static Optional<String> cutOff(CLIPTokenizer tokenizer, String text) {
    int limit = tokenizer.length() - 2;
    String[] words = text.strip().split("\\s+", -1);
    int tokens = 0;
    for (int i = 0; i < words.length; i++) {
      tokens += tokenizer.tokens(words[i]).size();
      if (tokens > limit) {
        return Optional.of(String.join(" ", List.of(words).subList(i, words.length)));
      }
    }
    return Optional.empty();
  }
}
