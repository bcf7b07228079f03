package org.perflow.models;

import java.util.ArrayList;
import java.util.List;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Tape;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.GroupNorm;
import org.perflow.tensor.nn.LayerNorm;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;
import org.perflow.tensor.nn.Parameter.Init;

/**
 * Lets every pixel look at all pixels and at the caption: transformer blocks over the pixels of a
 * feature map, with a shortcut around them. Thread-safe while nobody changes the weights.
 */
final class Transformer2DModel extends Module {
  private final GroupNorm norm;
  private final Projection projIn;
  private final List<Block> blocks = new ArrayList<>();
  private final Projection projOut;

  Transformer2DModel(int channels, int level, int layers, UNetConfig config) {
    norm = child("norm", new GroupNorm(config.normNumGroups(), channels, 1e-6));
    projIn = child("proj_in", new Projection(channels, config.useLinearProjection()));
    for (int i = 0; i < layers; i++) {
      blocks.add(child("transformer_blocks." + i, new Block(channels, level, config)));
    }
    projOut = child("proj_out", new Projection(channels, config.useLinearProjection()));
  }

  /**
   * x [B, C, H, W] and text [B, L, D] to [B, C, H, W]; each transformer block is one of {@link
   * Tape}, the first with what is before it, the last with what is behind.
   */
  Tensor forward(Tensor x, Tensor text) {
    Tensor h = x;
    int last = blocks.size() - 1;
    for (int i = 0; i < last; i++) {
      int at = i;
      h = Tape.block(inputs -> inner(at, inputs.get(0), inputs.get(1)), h, text);
    }
    return last == 0
        ? Tape.block(in -> outer(inner(0, in.get(0), in.get(1)), in.get(0)), x, text)
        : Tape.block(in -> outer(inner(last, in.get(0), in.get(1)), in.get(2)), h, text, x);
  }

  /** One of the blocks, [B, H·W, C]; the first begins with the map. */
  private Tensor inner(int at, Tensor h, Tensor text) {
    return blocks.get(at).forward(at == 0 ? pixels(h) : h, text);
  }

  // With channels innermost in memory, as the U-Net keeps them, both changes of shape are free.

  private Tensor pixels(Tensor x) {
    return projIn.forward(norm.forward(x).permute(0, 2, 3, 1).reshape(x.size(0), -1, x.size(1)));
  }

  private Tensor outer(Tensor h, Tensor x) {
    Tensor map = projOut.forward(h).reshape(x.size(0), x.size(2), x.size(3), x.size(1));
    return Functional.sum(map.permute(0, 3, 1, 2), x);
  }

  /**
   * A linear map of each pixel. Stable Diffusion 1 stores it as a 1 × 1 convolution [C, C, 1, 1], 2
   * and XL as [C, C]; the mathematics is one.
   */
  private static final class Projection extends Module {
    private final Parameter weight;
    private final Parameter bias;
    private final int channels;

    Projection(int channels, boolean linear) {
      long[] shape =
          linear ? new long[] {channels, channels} : new long[] {channels, channels, 1, 1};
      this.weight = parameter("weight", Init.fanIn(channels), shape);
      this.bias = parameter("bias", Init.constant(0), channels);
      this.channels = channels;
    }

    Tensor forward(Tensor x) {
      return Functional.linear(x, weight.value().reshape(channels, channels), bias.value());
    }
  }

  /** Self-attention, attention to the caption, feed-forward; each behind a norm, each added. */
  private static final class Block extends Module {
    private final LayerNorm norm1;
    private final Attention attn1;
    private final LayerNorm norm2;
    private final Attention attn2;
    private final LayerNorm norm3;
    private final Linear gated;
    private final Linear out;

    Block(int width, int level, UNetConfig config) {
      int heads = config.attentionHeads().get(level);
      int textWidth = config.crossAttentionDim().get(level);
      boolean upcast = config.upcastAttention();
      norm1 = child("norm1", new LayerNorm(width, 1e-5));
      attn1 = child("attn1", new Attention(width, width, heads, false, upcast));
      norm2 = child("norm2", new LayerNorm(width, 1e-5));
      attn2 = child("attn2", new Attention(width, textWidth, heads, false, upcast));
      norm3 = child("norm3", new LayerNorm(width, 1e-5));
      gated = child("ff.net.0.proj", new Linear(width, 8 * width));
      out = child("ff.net.2", new Linear(4 * width, width));
    }

    /** x [B, H·W, C], text [B, L, D]. */
    Tensor forward(Tensor x, Tensor text) {
      Tensor normed = norm1.forward(x);
      Tensor h = Functional.sum(attn1.forward(normed, normed), x);
      h = Functional.sum(attn2.forward(norm2.forward(h), text), h);
      Tensor wide = Functional.geglu(gated.forward(norm3.forward(h))); // [B, H·W, 4C]
      return Functional.sum(out.forward(wide), h);
    }
  }

  /** Multi-head attention of x to a context, also the VAE's. */
  static final class Attention extends Module {
    private final Linear toQ;
    private final Linear toK;
    private final Linear toV;
    private final Linear toOut;
    private final int heads;
    private final boolean upcast;

    /** {@code upcast}: scores in float32 whatever the input is (Stable Diffusion 2.1 needs it). */
    Attention(int width, int contextWidth, int heads, boolean bias, boolean upcast) {
      if (width % heads != 0) {
        throw new IllegalArgumentException(
            heads
                + " attention heads (the key attention_head_dim counts heads) do not divide "
                + width
                + " channels");
      }
      this.toQ = child("to_q", new Linear(width, width, bias));
      this.toK = child("to_k", new Linear(contextWidth, width, bias));
      this.toV = child("to_v", new Linear(contextWidth, width, bias));
      this.toOut = child("to_out.0", new Linear(width, width));
      this.heads = heads;
      this.upcast = upcast;
    }

    /** x [B, N, C], context [B, L, D] to [B, N, C]. */
    Tensor forward(Tensor x, Tensor context) {
      Tensor q = split(toQ.forward(x));
      Tensor k = split(toK.forward(context));
      Tensor v = split(toV.forward(context));
      Tensor h = Functional.attention(q, k, v, false).to(x.dtype()); // [B, heads, N, d]
      return toOut.forward(h.transpose(1, 2).reshape(x.shape()));
    }

    private Tensor split(Tensor x) { // [B, N, C] to [B, heads, N, d]
      Tensor parts = x.reshape(x.size(0), x.size(1), heads, x.size(2) / heads).transpose(1, 2);
      return upcast ? parts.to(DType.F32) : parts;
    }
  }
}
