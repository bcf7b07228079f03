package org.perflow.pipeline;

import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.Network;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.UNet2DConditionModel.Residuals;
import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;

/**
 * A U-Net with all that conditions it besides captions: ControlNets and a mask.
 *
 * @param controls ControlNets with their pictures
 * @param masked mask and latents of the masked picture, [B, 1 + C, h, w], for inpainting U-Nets
 */
record ConditionedUnet(UNet2DConditionModel unet, List<Bound> controls, @Nullable Tensor masked)
    implements Network {

  /**
   * A ControlNet.
   *
   * @param picture [1, 3, H, W] in 0..1
   */
  record Bound(Control control, Tensor picture) {
    private Residuals residuals(Tensor sample, Tensor timesteps, Conditioning told) {
      Tensor seen = picture.to(sample.dtype()).expand(sample.size(0), -1, -1, -1);
      return control
          .net()
          .forward(sample, timesteps, told.text(), seen, told.added())
          .times(control.scale());
    }
  }

  /**
   * The same with those ControlNets alone that take part in step {@code index} of {@code steps}.
   */
  ConditionedUnet at(int index, int steps) {
    return new ConditionedUnet(
        unet,
        controls.stream().filter(bound -> bound.control().takesPart(index, steps)).toList(),
        masked);
  }

  @Override
  public boolean takesNumber() {
    return unet.config().takesTimestepCond();
  }

  /** Computes in the type of the captions; 2 B rows are B rows guided. */
  @Override
  public Denoiser given(Conditioning told) {
    DType type = told.text().dtype();
    return (z, timesteps) -> {
      Tensor sample = z.to(type);
      Residuals residuals =
          controls.stream()
              .map(bound -> bound.residuals(sample, timesteps, told))
              .reduce(Residuals::plus)
              .orElse(null);
      Tensor input = masked == null ? sample : Tensor.cat(1, sample, mask(z.size(0)).to(type));
      return unet.forward(
              input, timesteps, told.text(), told.added(), told.timestepCond(), residuals)
          .to(DType.F32);
    };
  }

  private Tensor mask(long rows) {
    return Tensor.cat(0, Collections.nCopies((int) (rows / masked.size(0)), masked));
  }
}
