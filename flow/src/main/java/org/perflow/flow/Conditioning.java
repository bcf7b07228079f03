package org.perflow.flow;

import java.util.List;
import java.util.function.BinaryOperator;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.perflow.models.AddedConditions;
import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;

/**
 * What a U-Net is told about the pictures of a batch. Its tensors belong to the scope they were
 * made in. Captions are one thing in whatever is done to rows here: the parts of a caption are
 * never mixed with those of another.
 *
 * @param text token features [B, L, D], in the type to compute with
 * @param added pooled text and sizes, for the XL family; else null
 */
public record Conditioning(Tensor text, @Nullable AddedConditions added) {
  /** Of the families that are told token features alone. */
  public static Conditioning of(Tensor text) {
    return new Conditioning(text, null);
  }

  /** All of them, as many as the family has. */
  public List<Tensor> tensors() {
    return added == null ? List.of(text) : List.of(text, added.textEmbeds(), added.timeIds());
  }

  /** What {@code change} makes of every tensor, all of which have B rows. */
  public Conditioning each(UnaryOperator<Tensor> change) {
    return new Conditioning(
        change.apply(text),
        added == null
            ? null
            : new AddedConditions(change.apply(added.textEmbeds()), change.apply(added.timeIds())));
  }

  /** What {@code merge} makes of every tensor and its counterpart in {@code other}. */
  public Conditioning with(Conditioning other, BinaryOperator<Tensor> merge) {
    return new Conditioning(
        merge.apply(text, other.text),
        added == null || other.added == null
            ? null
            : new AddedConditions(
                merge.apply(added.textEmbeds(), other.added.textEmbeds()),
                merge.apply(added.timeIds(), other.added.timeIds())));
  }

  /** Rows {@code from} to {@code from + count}, as views. */
  public Conditioning narrow(long from, long count) {
    return each(x -> x.narrow(0, from, count));
  }

  /** The rows of this one, then those of {@code other}. */
  public Conditioning cat(Conditioning other) {
    return with(other, (own, their) -> Tensor.cat(0, own, their));
  }

  /** Captions in {@code type}; sizes are numbers of pixels, which bfloat16 would round. */
  public Conditioning to(DType type) {
    return new Conditioning(
        text.to(type),
        added == null ? null : new AddedConditions(added.textEmbeds().to(type), added.timeIds()));
  }
}
