package org.perflow.flow;

import org.jspecify.annotations.Nullable;
import org.perflow.models.AddedConditions;
import org.perflow.tensor.Tensor;

/**
 * What a U-Net is told about the pictures of a batch. Its tensors belong to the scope they were
 * made in.
 *
 * @param text token features [B, L, D], in the type to compute with
 * @param added pooled text and sizes, for the XL family; else null
 */
public record Conditioning(Tensor text, @Nullable AddedConditions added) {
  /** The rows of this one, then those of {@code other}. */
  public Conditioning cat(Conditioning other) {
    AddedConditions both =
        added == null || other.added == null
            ? null
            : new AddedConditions(
                Tensor.cat(0, added.textEmbeds(), other.added.textEmbeds()),
                Tensor.cat(0, added.timeIds(), other.added.timeIds()));
    return new Conditioning(Tensor.cat(0, text, other.text), both);
  }
}
