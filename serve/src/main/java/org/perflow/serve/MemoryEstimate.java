package org.perflow.serve;

import java.util.List;
import org.perflow.models.DiffusionModel;
import org.perflow.models.VaeConfig;
import org.perflow.models.lora.AppliedLoras;
import org.perflow.tensor.DType;
import org.perflow.tensor.nn.Module;

/**
 * What drawing takes in memory besides weights, by arithmetic on the sizes of feature maps: a bound
 * to refuse by, not a measurement. Attention is computed in pieces and keeps no scores.
 */
final class MemoryEstimate {
  /** Feature maps of the widest size that a block of the U-Net has alive: GEGLU's are eight. */
  private static final int MAPS_OF_A_BLOCK = 12;

  /** Input, normalised, convolved, kept for the shortcut, each also as oneDNN lays it out. */
  private static final int MAPS_OF_A_DECODER_BLOCK = 8;

  private MemoryEstimate() {}

  /** Bytes for {@code pictures} of that size at once, guided or not. */
  static long drawing(
      DiffusionModel model, DType compute, int width, int height, int pictures, boolean guided) {
    return Math.max(
        denoising(model, compute, width, height, pictures * (guided ? 2 : 1)),
        decoding(model, compute, width, height));
  }

  private static long denoising(
      DiffusionModel model, DType compute, int width, int height, int rows) {
    int factor = model.vae().config().downsampling();
    List<Integer> channels = model.unet().config().blockOutChannels();
    long pixels = (long) width * height / factor / factor;
    long kept = 0; // what the way down leaves for the way up
    for (int level = 0; level < channels.size(); level++) {
      int layers = model.unet().config().layersPerBlock().get(level) + 1;
      kept += layers * channels.get(level) * (pixels >> (2 * level));
    }
    return rows * (kept + MAPS_OF_A_BLOCK * channels.get(0) * pixels) * compute.bytes();
  }

  /** Pictures are decoded one by one; the last block begins with the channels of the one before. */
  private static long decoding(DiffusionModel model, DType compute, int width, int height) {
    VaeConfig vae = model.vae().config();
    List<Integer> channels = vae.blockOutChannels();
    int widest = channels.get(Math.min(1, channels.size() - 1));
    int bytes = vae.forceUpcast() ? DType.F32.bytes() : compute.bytes();
    return (long) MAPS_OF_A_DECODER_BLOCK * widest * width * height * bytes;
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
