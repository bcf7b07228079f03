package org.perflow.distill;

import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;

/** A network that is told something about every row. */
@FunctionalInterface
public interface Network {
  /** The network, told that; float32 out, gradients as the calling thread says. */
  Denoiser given(Conditioning condition);

  /** {@code unet}, computing in {@code type}. */
  static Network of(UNet2DConditionModel unet, DType type) {
    return condition -> Denoiser.of(unet, condition.to(type));
  }
}
