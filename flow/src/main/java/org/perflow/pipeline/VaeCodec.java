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
 * Pictures to latents as the U-Net sees them (scaled) and back. Does not own the autoencoder;
 * records no gradients.
 *
 * @param compute element type to compute in, unless the autoencoder says that it overflows there
 * @param tiling in overlapping tiles where the picture is larger than the model was trained on
 */
public record VaeCodec(AutoencoderKL vae, DType compute, boolean tiling) {
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
  public Tensor encode(Tensor picture, Tensor noise) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor x = picture.to(vae.device()).to(type());
      Tensor moments =
          (tiling ? vae.encodeMomentsTiled(x) : vae.encodeMoments(x))
              .to(DType.F32); // [1, 2C, h, w]
      int channels = vae.config().latentChannels();
      Tensor mean = moments.narrow(1, 0, channels);
      Tensor deviation = moments.narrow(1, channels, channels).clamp(-30, 20).mul(0.5).exp();
      Tensor z = mean.add(deviation.mul(noise.to(mean.device()))).sub(shift());
      return scope.keep(z.mul(vae.config().scalingFactor()));
    }
  }

  /**
   * Pictures of latents [B, C, h, w], all at once.
   *
   * @return [B, 3, H, W], in -1..1 but for what the autoencoder overshoots, owned by the caller's
   *     scope
   */
  public Tensor decode(Tensor latents) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor z =
          latents
              .to(vae.device())
              .to(DType.F32)
              .div(vae.config().scalingFactor())
              .add(shift())
              .to(type());
      return scope.keep(tiling ? vae.decodeTiled(z) : vae.decode(z));
    }
  }

  /** The same as images, decoded one by one to bound memory. */
  public List<BufferedImage> images(Tensor latents) {
    List<BufferedImage> images = new ArrayList<>();
    for (long i = 0; i < latents.size(0); i++) {
      try (Scope scope = Scope.open()) {
        images.addAll(Images.fromTensor(decode(latents.narrow(0, i, 1))));
      }
    }
    return images;
  }

  private double shift() {
    return Optional.ofNullable(vae.config().shiftFactor()).orElse(0.0);
  }
}
