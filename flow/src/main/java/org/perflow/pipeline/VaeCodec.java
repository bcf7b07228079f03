package org.perflow.pipeline;

import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.perflow.io.Images;
import org.perflow.models.AutoencoderKL;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Pictures to latents as the U-Net sees them (scaled) and back.
 *
 * @param tiling in overlapping tiles where the picture is larger than the model was trained on
 */
record VaeCodec(AutoencoderKL vae, DType compute, boolean tiling) {
  /** Some VAEs overflow in half precision; their config says so. */
  private DType type() {
    return vae.config().forceUpcast() ? DType.F32 : compute;
  }

  /**
   * A sample of the latents' distribution for each noise, float32, owned by the caller's scope.
   *
   * @param picture [1, 3, H, W] in -1..1
   * @param noise standard normal [B, C, h, w]
   */
  Tensor encode(Tensor picture, Tensor noise) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor x = picture.to(type());
      Tensor moments =
          (tiling ? vae.encodeMomentsTiled(x) : vae.encodeMoments(x))
              .to(DType.F32); // [1, 2C, h, w]
      int channels = vae.config().latentChannels();
      Tensor mean = moments.narrow(1, 0, channels);
      Tensor deviation = moments.narrow(1, channels, channels).clamp(-30, 20).mul(0.5).exp();
      Tensor z = mean.add(deviation.mul(noise)).sub(shift());
      return scope.keep(z.mul(vae.config().scalingFactor()));
    }
  }

  /** Pictures of latents [B, C, h, w], decoded one by one to bound memory. */
  List<BufferedImage> decode(Tensor latents) {
    List<BufferedImage> pictures = new ArrayList<>();
    for (long i = 0; i < latents.size(0); i++) {
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        Tensor z = latents.narrow(0, i, 1).to(DType.F32).div(vae.config().scalingFactor());
        z = z.add(shift()).to(type());
        pictures.addAll(Images.fromTensor(tiling ? vae.decodeTiled(z) : vae.decode(z)));
      }
    }
    return pictures;
  }

  private double shift() {
    return Optional.ofNullable(vae.config().shiftFactor()).orElse(0.0);
  }
}
