package org.perflow.pipeline;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Guidance;
import org.perflow.models.ControlNetModel.Residuals;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;

/**
 * A U-Net with all that conditions it bound: captions, ControlNets, mask.
 *
 * @param positive of the captions, B rows
 * @param both the negative rows, then the positive ones; null where nothing is guided
 * @param rescale how far the spread of guided outputs is taken back, 0 to 1
 * @param controls ControlNets with their pictures
 * @param masked mask and latents of the masked picture, [B, 1 + C, h, w], for inpainting U-Nets
 */
record ConditionedUnet(
    UNet2DConditionModel unet,
    Conditioning positive,
    @Nullable Conditioning both,
    double rescale,
    List<Bound> controls,
    @Nullable Tensor masked) {

  /**
   * A ControlNet.
   *
   * @param picture [1, 3, H, W] in 0..1
   */
  record Bound(Control control, Tensor picture) {}

  /**
   * The network's output, guided, float32, owned by the caller's scope.
   *
   * @param z [B, C, h, w] as the network sees it
   * @param timestep 0 ... 1000
   * @param scale of the guidance; 1 or less is none, and a U-Net that embeds its guidance is told
   *     {@code scale − 1} instead of being asked twice (Luo et al., arXiv 2310.04378)
   * @param cond what such a U-Net is told in the guidance's place; NaN for the guidance
   * @param index of the step among {@code steps} that are drawn, for ControlNets
   */
  Tensor predict(Tensor z, double timestep, double scale, double cond, int index, int steps) {
    if (unet.config().takesTimestepCond()) {
      Tensor number = Tensor.full(Double.isNaN(cond) ? scale - 1 : cond, z.size(0));
      return output(z, masked, timestep, positive.withTimestepCond(number), index, steps);
    }
    if (scale <= 1 || both == null) {
      return output(z, masked, timestep, positive, index, steps);
    }
    Tensor twice = Tensor.cat(0, z, z);
    Tensor maskedTwice = masked == null ? null : Tensor.cat(0, masked, masked);
    Tensor output = output(twice, maskedTwice, timestep, both, index, steps);
    long rows = z.size(0);
    Tensor conditional = output.narrow(0, rows, rows);
    Tensor guided = Guidance.guide(output.narrow(0, 0, rows), conditional, scale);
    return rescale == 0 ? guided : Guidance.rescale(guided, conditional, rescale);
  }

  private Tensor output(
      Tensor z, @Nullable Tensor mask, double timestep, Conditioning told, int index, int steps) {
    DType type = told.text().dtype();
    Tensor time = Tensor.full(timestep, z.size(0));
    Tensor sample = z.to(type);
    Residuals residuals = residuals(sample, time, told, index, steps);
    Tensor input = mask == null ? sample : Tensor.cat(1, sample, mask.to(type));
    return unet.forward(input, time, told.text(), told.added(), told.timestepCond(), residuals)
        .to(DType.F32);
  }

  /** The sum of what the ControlNets that take part in this step add. */
  private @Nullable Residuals residuals(
      Tensor sample, Tensor time, Conditioning told, int index, int steps) {
    Residuals sum = null;
    for (Bound bound : controls) {
      Control control = bound.control();
      if (control.takesPart(index, steps)) {
        Tensor picture = bound.picture().to(sample.dtype()).expand(sample.size(0), -1, -1, -1);
        Residuals own =
            control
                .net()
                .forward(sample, time, told.text(), picture, told.added())
                .times(control.scale());
        sum = sum == null ? own : sum.plus(own);
      }
    }
    return sum;
  }
}
