package org.perflow.memory;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import org.perflow.models.UNetConfig;
import org.perflow.models.VaeConfig;

/**
 * How many numbers a network keeps for its backward pass, a row of a batch, by a walk through its
 * blocks: the result of every operation, since all live until the scope of the step ends. The maps
 * are those of the code in {@link org.perflow.models.UNet2DConditionModel} and {@link
 * org.perflow.models.AutoencoderKL}.
 */
final class Activations {
  /**
   * Resnet: beside the skip, normed, silu; then twice a convolution, time, norm, silu, sum,
   * shortcut.
   */
  private static final int RESNET_IN = 3;

  private static final double RESNET_OUT = 6.5;

  /** Normed, projected twice, and with the shortcut. */
  private static final int TRANSFORMER = 5;

  /**
   * Three norms, q, k, v and q again, attention twice with a copy and an output, sums, GEGLU's 17.
   */
  private static final int TRANSFORMER_BLOCK = 33;

  /**
   * Matrices of a transformer's layer: attention to itself four, to the caption the same, in and
   * out of the gated product eight and four.
   */
  private static final long LAYER_WEIGHTS = 4 + 4 + 8 + 4;

  /** Resnets of an autoencoder's coarsest level, two on each side. */
  private static final int MIDDLES = 4;

  private long all;
  private long heaviest; // weights of a block
  private long between; // what goes into blocks and comes out of them
  private long largest; // of a block

  private Activations() {}

  /** All that is kept, a row. */
  static long kept(UNetConfig unet, int height, int width) {
    return walk(unet, height, width).all;
  }

  /** With gradient checkpointing: what goes from block to block, and the largest block itself. */
  static long recomputed(UNetConfig unet, int height, int width) {
    Activations walk = walk(unet, height, width);
    return walk.between + walk.largest;
  }

  /** Weights of the block that has most, in its matrices and convolutions. */
  static long weightsOfABlock(UNetConfig unet) {
    return walk(unet, 1, 1).heaviest;
  }

  /** All that an autoencoder keeps, encoder and decoder, a picture of so many pixels. */
  static long kept(VaeConfig vae, int height, int width) {
    Activations walk = new Activations();
    List<Integer> channels = vae.blockOutChannels();
    int last = channels.size() - 1;
    long pixels = (long) height * width;
    int in = channels.get(0);
    for (int level = 0; level <= last; level++) {
      for (int i = 0; i < vae.layersPerBlock(); i++) {
        walk.blocks(in, channels.get(level), 0, at(pixels, level));
        in = channels.get(level);
      }
    }
    for (int i = 0; i < MIDDLES; i++) {
      walk.blocks(in, in, 0, at(pixels, last));
    }
    for (int level = last; level >= 0; level--) {
      for (int i = 0; i <= vae.layersPerBlock(); i++) {
        walk.blocks(in, channels.get(level), 0, at(pixels, level));
        in = channels.get(level);
      }
    }
    return walk.all;
  }

  private static Activations walk(UNetConfig unet, int height, int width) {
    Activations walk = new Activations();
    List<Integer> channels = unet.blockOutChannels();
    int last = unet.levels() - 1;
    long pixels = (long) height * width;
    Deque<Integer> skips = new ArrayDeque<>();
    skips.push(channels.get(0));
    int in = channels.get(0);
    for (int level = 0; level <= last; level++) {
      int out = channels.get(level);
      boolean attends = unet.downBlockTypes().get(level).startsWith("CrossAttn");
      for (int i = 0; i < unet.layersPerBlock().get(level); i++) {
        walk.blocks(
            in, out, attends ? unet.transformerLayersPerBlock().get(level) : 0, at(pixels, level));
        in = out;
        skips.push(out);
      }
      if (level < last) {
        skips.push(out);
      }
    }
    walk.blocks(in, in, unet.transformerLayersPerBlock().get(last), at(pixels, last));
    walk.blocks(in, in, 0, at(pixels, last));
    for (int index = 0; index <= last; index++) {
      int level = last - index;
      int out = channels.get(level);
      boolean attends = unet.upBlockTypes().get(index).startsWith("CrossAttn");
      for (int i = 0; i <= unet.layersPerBlock().get(level); i++) {
        walk.blocks(
            in + skips.pop(),
            out,
            attends ? unet.transformerLayersPerBlock().get(level) : 0,
            at(pixels, level));
        in = out;
      }
    }
    return walk;
  }

  private static long at(long pixels, int level) {
    return Math.max(1, pixels >> (2 * level));
  }

  /** A resnet and, behind it, a transformer of so many blocks, 0 for none. */
  private void blocks(int in, int out, int layers, long pixels) {
    long resnet = pixels * ((long) RESNET_IN * in + Math.round(RESNET_OUT * out));
    long transformer = layers == 0 ? 0 : pixels * out * TRANSFORMER;
    long layer = layers == 0 ? 0 : pixels * out * TRANSFORMER_BLOCK;
    all += resnet + transformer + layers * layer;
    between += pixels * (in + out + (long) layers * out);
    largest = Math.max(largest, Math.max(resnet, transformer + layer));
    long weights = 9L * in * out + 9L * out * out + (in == out ? 0 : (long) in * out);
    heaviest = Math.max(heaviest, Math.max(weights, layers == 0 ? 0 : LAYER_WEIGHTS * out * out));
  }
}
