package org.perflow.serve;

import java.util.List;
import org.perflow.models.DiffusionModel;
import org.perflow.models.VaeConfig;
import org.perflow.models.lora.AppliedLoras;
import org.perflow.tensor.DType;
import org.perflow.tensor.nn.Module;

/**
 * What drawing takes in memory besides weights, by arithmetic on the sizes of feature maps: a bound
 * to refuse by. Its factors were measured as the growth of the process's peak, on Linux, with
 * emoji-64 (64 to 512 pixels, 1 to 16 pictures) and SD-1.5 (512 pixels), float32 and bfloat16; the
 * bound is 1.1 to 1.6 times what was seen.
 */
final class MemoryEstimate {
  /** Feature maps of the U-Net's first level at once: 70 to 109 were seen. */
  private static final int MAPS_OF_THE_UNET = 115;

  /** Feature maps of the decoder's last level but one, at the size of the picture: 9 were seen. */
  private static final int MAPS_OF_THE_DECODER = 10;

  /** Bytes of a pixel on its way from the decoder to an image; 800 were seen. */
  private static final int PIXEL = 1000;

  private MemoryEstimate() {}

  /**
   * Bytes for {@code pictures} of that size at once, guided or not. What the U-Net gave back is not
   * reused by the decoder, so both count.
   */
  static long drawing(
      DiffusionModel model,
      DType compute,
      int width,
      int height,
      int pictures,
      boolean guided,
      boolean tiling) {
    VaeConfig vae = model.vae().config();
    int tile = tiling ? vae.sampleSize() : Integer.MAX_VALUE;
    return denoising(model, compute, width, height, pictures * (guided ? 2 : 1))
        + decoding(vae, compute, (long) Math.min(width, tile) * Math.min(height, tile))
        + (long) PIXEL * width * height;
  }

  private static long denoising(
      DiffusionModel model, DType compute, int width, int height, int rows) {
    int factor = model.vae().config().downsampling();
    long pixels = (long) width * height / factor / factor;
    int channels = model.unet().config().blockOutChannels().get(0);
    return rows * MAPS_OF_THE_UNET * channels * pixels * compute.bytes();
  }

  /** Pictures are decoded one by one; the last block begins with the channels of the one before. */
  private static long decoding(VaeConfig vae, DType compute, long pixels) {
    List<Integer> channels = vae.blockOutChannels();
    int widest = channels.get(Math.min(1, channels.size() - 1));
    int bytes = vae.forceUpcast() ? DType.F32.bytes() : compute.bytes();
    return MAPS_OF_THE_DECODER * widest * pixels * bytes;
  }

  /** Bytes of the copies of weights that LoRAs are added to, if they change all that they can. */
  static long withLoras(DiffusionModel model) {
    return AppliedLoras.parts(model).values().stream().mapToLong(MemoryEstimate::weights).sum();
  }

  /** Bytes of the weights of all parts. */
  static long weights(DiffusionModel model) {
    long bytes = weights(model.unet()) + weights(model.vae()) + weights(model.textEncoder());
    return model.second() == null ? bytes : bytes + weights(model.second().textEncoder());
  }

  /** Bytes of the weights. */
  static long weights(Module module) {
    return module.namedParameters().values().stream()
        .mapToLong(parameter -> parameter.value().numel() * parameter.value().dtype().bytes())
        .sum();
  }
}
