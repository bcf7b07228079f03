package org.perflow.flow;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BinaryOperator;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.perflow.models.AddedConditions;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Tensor;

/**
 * What a U-Net is told about the pictures of a batch. Its tensors belong to the scope they were
 * made in. Captions are one thing in whatever is done to rows here: the parts of a caption are
 * never mixed with those of another.
 *
 * @param text token features [B, L, D], in the type to compute with
 * @param added pooled text and sizes, for the XL family; else null
 * @param timestepCond a number [B], float32, for networks that embed one beside time, such as LCM's
 *     guidance; else null
 */
public record Conditioning(
    Tensor text, @Nullable AddedConditions added, @Nullable Tensor timestepCond) {
  public Conditioning(Tensor text, @Nullable AddedConditions added) {
    this(text, added, null);
  }

  /** Of the families that are told token features alone. */
  public static Conditioning of(Tensor text) {
    return new Conditioning(text, null);
  }

  /** With that number in every row, [B]. */
  public Conditioning withTimestepCond(@Nullable Tensor number) {
    return new Conditioning(text, added, number);
  }

  /**
   * Its tensors by name, as many as the family has: {@code text}, {@code pooled} and {@code sizes},
   * {@code number}. Files and checkpoints use these names.
   */
  public Map<String, Tensor> named() {
    Map<String, Tensor> named = new LinkedHashMap<>();
    named.put("text", text);
    if (added != null) {
      named.put("pooled", added.textEmbeds());
      named.put("sizes", added.timeIds());
    }
    if (timestepCond != null) {
      named.put("number", timestepCond);
    }
    return named;
  }

  /** The one that {@link #named} describes; other names are left alone. */
  public static Conditioning of(Map<String, Tensor> named) {
    Tensor pooled = named.get("pooled");
    return new Conditioning(
        named.get("text"),
        pooled == null ? null : new AddedConditions(pooled, named.get("sizes")),
        named.get("number"));
  }

  /** All of them. */
  public List<Tensor> tensors() {
    return List.copyOf(named().values());
  }

  /** What {@code change} makes of every tensor, all of which have B rows. */
  public Conditioning each(UnaryOperator<Tensor> change) {
    return new Conditioning(
        change.apply(text),
        added == null
            ? null
            : new AddedConditions(change.apply(added.textEmbeds()), change.apply(added.timeIds())),
        timestepCond == null ? null : change.apply(timestepCond));
  }

  /** What {@code merge} makes of every tensor and its counterpart in {@code other}. */
  public Conditioning with(Conditioning other, BinaryOperator<Tensor> merge) {
    return new Conditioning(
        merge.apply(text, other.text),
        added == null || other.added == null
            ? null
            : new AddedConditions(
                merge.apply(added.textEmbeds(), other.added.textEmbeds()),
                merge.apply(added.timeIds(), other.added.timeIds())),
        timestepCond == null || other.timestepCond == null
            ? timestepCond
            : merge.apply(timestepCond, other.timestepCond));
  }

  /** With those sizes, [B, 6], for families that are told them; else as it is. */
  public Conditioning withSizes(@Nullable Tensor sizes) {
    return added == null || sizes == null
        ? this
        : new Conditioning(text, new AddedConditions(added.textEmbeds(), sizes), timestepCond);
  }

  private @Nullable Tensor sizes() {
    return added == null ? null : added.timeIds();
  }

  /**
   * Its row where {@code keep} says so, else the one row of {@code empty}: caption dropout. Sizes
   * stay, which a picture has without a caption, too.
   */
  public Conditioning keep(boolean[] keep, Conditioning empty) {
    byte[] kept = new byte[keep.length];
    for (int i = 0; i < keep.length; i++) {
      kept[i] = (byte) (keep[i] ? 1 : 0);
    }
    Conditioning dropped =
        with(
            empty,
            (own, none) -> {
              Tensor stays = Tensor.of(kept).gt(0).to(own.device()).asRows(own.dim());
              return Tensor.where(stays, own, none.to(own.dtype()));
            });
    return dropped.withSizes(sizes());
  }

  /** Rows {@code from} to {@code from + count}, as views. */
  public Conditioning narrow(long from, long count) {
    return each(x -> x.narrow(0, from, count));
  }

  /**
   * The one row of this, or its B rows, as B rows in the types of {@code other}, told its sizes:
   * what guidance leads away from is a caption, not a size. Views.
   */
  public Conditioning rowsLike(Conditioning other) {
    return other
        .with(this, (x, own) -> own.to(x.dtype()).expand(x.shape()))
        .withSizes(other.sizes());
  }

  /** The rows of this one, then those of {@code other}. */
  public Conditioning cat(Conditioning other) {
    return with(other, (own, their) -> Tensor.cat(0, own, their));
  }

  /** On that device. */
  public Conditioning to(Device device) {
    return each(x -> x.to(device));
  }

  /** Captions in {@code type}; sizes are numbers of pixels, which bfloat16 would round. */
  public Conditioning to(DType type) {
    return new Conditioning(
        text.to(type),
        added == null ? null : new AddedConditions(added.textEmbeds().to(type), added.timeIds()),
        timestepCond);
  }
}
