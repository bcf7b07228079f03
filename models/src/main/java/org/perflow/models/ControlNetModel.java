package org.perflow.models;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Weights;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Conv2d;
import org.perflow.tensor.nn.Module;

/**
 * ControlNet (Zhang et al., arXiv 2302.05543): a copy of a U-Net's way down that sees a picture as
 * condition, and what it adds to the U-Net's own maps. Owns its weights until closed; forward
 * passes may run on several threads at once. Computes in the element type of its sample.
 */
public final class ControlNetModel extends Module {
  private static final String WEIGHTS = "diffusion_pytorch_model.safetensors";

  private final ControlNetConfig config;
  private final Conv2d convIn;
  private final TimestepEmbedding timeEmbedding;
  private final @Nullable TimestepEmbedding addEmbedding;
  private final Condition condition;
  private final List<UNet2DConditionModel.Down> downBlocks = new ArrayList<>();
  private final UNet2DConditionModel.Mid midBlock;
  private final List<Conv2d> downAdapters = new ArrayList<>();
  private final Conv2d midAdapter;

  /** Without weights yet: initialise or load them. */
  public ControlNetModel(ControlNetConfig config) {
    this.config = config;
    UNetConfig unet = config.unet();
    int first = unet.blockOutChannels().get(0);
    convIn = child("conv_in", new Conv2d(unet.inChannels(), first, 3, 1, 1));
    timeEmbedding = child("time_embedding", new TimestepEmbedding(first, 4 * first));
    addEmbedding =
        unet.takesAddedConditions()
            ? child(
                "add_embedding",
                new TimestepEmbedding(unet.projectionClassEmbeddingsInputDim(), 4 * first))
            : null;
    condition = child("controlnet_cond_embedding", new Condition(config, first));
    Deque<Integer> skips = new ArrayDeque<>(); // channels of each map, the last first
    skips.push(first);
    for (int level = 0; level < unet.levels(); level++) {
      downBlocks.add(
          child("down_blocks." + level, new UNet2DConditionModel.Down(unet, level, skips)));
    }
    midBlock = child("mid_block", new UNet2DConditionModel.Mid(unet));
    for (Iterator<Integer> each = skips.descendingIterator(); each.hasNext(); ) {
      int channels = each.next();
      String name = "controlnet_down_blocks." + downAdapters.size();
      downAdapters.add(child(name, new Conv2d(channels, channels, 1, 1, 0)));
    }
    int last = unet.blockOutChannels().get(unet.levels() - 1);
    midAdapter = child("controlnet_mid_block", new Conv2d(last, last, 1, 1, 0));
  }

  /** Reads {@code config.json} and the weights, as {@code as}, from a model folder. */
  public static ControlNetModel load(Path folder, DType as) throws IOException {
    var model = new ControlNetModel(ConfigJson.read(folder, ControlNetConfig::of));
    Weights.load(model, ConfigJson.weights(folder, WEIGHTS), as);
    return model;
  }

  /** Its shape. */
  public ControlNetConfig config() {
    return config;
  }

  /**
   * Residuals for {@code sample}, owned by the caller's scope.
   *
   * @param sample noisy latents [B, C, H, W], as the U-Net gets them
   * @param timesteps [B] or [1], 0..1000, may be fractional
   * @param text embeddings [B, L, D]
   * @param picture the condition in 0..1, [B, 3, f·H, f·W] with f = {@link
   *     ControlNetConfig#downsampling}
   * @param added where the model is of the XL family, else null
   */
  public UNet2DConditionModel.Residuals forward(
      Tensor sample,
      Tensor timesteps,
      Tensor text,
      Tensor picture,
      @Nullable AddedConditions added) {
    UNet2DConditionModel.check("ControlNet", config.unet(), sample, timesteps, text, added);
    int factor = config.downsampling();
    if (picture.dim() != 4
        || picture.size(1) != config.conditioningChannels()
        || picture.size(2) != factor * sample.size(2)
        || picture.size(3) != factor * sample.size(3)) {
      throw new IllegalArgumentException(
          "ControlNet condition %s, expected [B, %d, %d, %d]"
              .formatted(
                  picture,
                  config.conditioningChannels(),
                  factor * sample.size(2),
                  factor * sample.size(3)));
    }
    Tensor time =
        Functional.silu(
            UNet2DConditionModel.embedTime(
                config.unet(), timeEmbedding, addEmbedding, sample, timesteps, added, null));
    Tensor states = text.to(sample.dtype());
    Tensor seen = config.bgr() ? picture.flip(1) : picture;
    Tensor x = convIn.forward(sample.channelsLast());
    x = x.add(condition.forward(seen.to(sample.dtype()).channelsLast()));
    Deque<Tensor> maps = new ArrayDeque<>();
    maps.push(x);
    for (UNet2DConditionModel.Down block : downBlocks) {
      x = block.forward(x, time, states, maps);
    }
    x = midBlock.forward(x, time, states);
    List<Tensor> down = new ArrayList<>();
    Iterator<Tensor> each = maps.descendingIterator();
    downAdapters.forEach(adapter -> down.add(adapter.forward(each.next())));
    return new UNet2DConditionModel.Residuals(down, midAdapter.forward(x));
  }

  /** Shrinks the condition to the size of the latents. */
  private static final class Condition extends Module {
    private final Conv2d convIn;
    private final List<Conv2d> blocks = new ArrayList<>();
    private final Conv2d convOut;

    Condition(ControlNetConfig config, int out) {
      List<Integer> widths = config.conditioningEmbeddingOutChannels();
      convIn = child("conv_in", new Conv2d(config.conditioningChannels(), widths.get(0), 3, 1, 1));
      for (int i = 0; i + 1 < widths.size(); i++) {
        int from = widths.get(i);
        blocks.add(child("blocks." + 2 * i, new Conv2d(from, from, 3, 1, 1)));
        blocks.add(child("blocks." + (2 * i + 1), new Conv2d(from, widths.get(i + 1), 3, 2, 1)));
      }
      convOut = child("conv_out", new Conv2d(widths.get(widths.size() - 1), out, 3, 1, 1));
    }

    Tensor forward(Tensor x) {
      x = Functional.silu(convIn.forward(x));
      for (Conv2d block : blocks) {
        x = Functional.silu(block.forward(x));
      }
      return convOut.forward(x);
    }
  }
}
