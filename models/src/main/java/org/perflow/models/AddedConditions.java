package org.perflow.models;

import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;

/**
 * What Stable Diffusion XL is told beside time and caption (Podell et al., arXiv 2307.01952,
 * section 2.2). Its tensors belong to whoever made them.
 *
 * @param textEmbeds pooled, projected output of the second text encoder, [B, P]
 * @param timeIds original height and width, top and left of the crop, target height and width, all
 *     in pixels, [B, 6]
 */
public record AddedConditions(Tensor textEmbeds, Tensor timeIds) {
  public AddedConditions {
    if (textEmbeds.dim() != 2 || timeIds.dim() != 2 || textEmbeds.size(0) != timeIds.size(0)) {
      throw new IllegalArgumentException(
          "text_embeds "
              + textEmbeds
              + " and time_ids "
              + timeIds
              + ", expected [B, P] and [B, 6]");
    }
  }

  /** [B, P + 6 · width], in {@code type}. */
  Tensor waves(UNetConfig config, DType type) {
    long batch = timeIds.size(0);
    Tensor waves =
        TimestepEmbedding.sinusoids(
                timeIds.reshape(-1),
                config.additionTimeEmbedDim(),
                config.flipSinToCos(),
                config.freqShift())
            .reshape(batch, -1);
    return Tensor.cat(1, textEmbeds.to(type), waves.to(type));
  }
}
