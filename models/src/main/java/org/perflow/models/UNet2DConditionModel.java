package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Json;
import org.perflow.io.NamedTensors;
import org.perflow.io.Weights;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Rows;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Conv2d;
import org.perflow.tensor.nn.GroupNorm;
import org.perflow.tensor.nn.Module;

/**
 * The denoiser of Stable Diffusion 1, 2 and XL (Rombach et al., arXiv 2112.10752; Podell et al.,
 * arXiv 2307.01952): a U-Net over latents that knows the time and attends to the caption. Owns its
 * weights until closed; forward passes may run on several threads at once. Computes in the element
 * type of its input, whatever the weights are. Resnets and transformers are blocks of {@link
 * org.perflow.tensor.Tape}.
 */
public final class UNet2DConditionModel extends Module {
  private static final String WEIGHTS = "diffusion_pytorch_model.safetensors";

  private final UNetConfig config;
  private final Conv2d convIn;
  private final TimestepEmbedding timeEmbedding;
  private final @Nullable TimestepEmbedding addEmbedding;
  private final List<Down> downBlocks = new ArrayList<>();
  private final Mid midBlock;
  private final List<Up> upBlocks = new ArrayList<>();
  private final GroupNorm convNormOut;
  private final Conv2d convOut;

  /** Without weights yet: initialise or load them. */
  public UNet2DConditionModel(UNetConfig config) {
    this.config = config;
    int first = config.blockOutChannels().get(0);
    convIn = child("conv_in", new Conv2d(config.inChannels(), first, 3, 1, 1));
    timeEmbedding =
        child("time_embedding", new TimestepEmbedding(first, 4 * first, config.timeCondProjDim()));
    addEmbedding =
        config.takesAddedConditions()
            ? child(
                "add_embedding",
                new TimestepEmbedding(config.projectionClassEmbeddingsInputDim(), 4 * first))
            : null;
    Deque<Integer> skips = new ArrayDeque<>(); // channels of each map that goes across
    skips.push(first);
    for (int level = 0; level < config.levels(); level++) {
      downBlocks.add(child("down_blocks." + level, new Down(config, level, skips)));
    }
    midBlock = child("mid_block", new Mid(config));
    for (int index = 0; index < config.levels(); index++) {
      upBlocks.add(child("up_blocks." + index, new Up(config, index, skips)));
    }
    convNormOut =
        child("conv_norm_out", new GroupNorm(config.normNumGroups(), first, config.normEps()));
    convOut = child("conv_out", new Conv2d(first, config.outChannels(), 3, 1, 1));
  }

  /** Reads {@code config.json} and the weights, as {@code as}, from a model folder. */
  public static UNet2DConditionModel load(Path folder, DType as) throws IOException {
    var model = new UNet2DConditionModel(ConfigJson.read(folder, UNetConfig::of));
    model.loadWeights(folder, as);
    return model;
  }

  void loadWeights(Path folder, DType as) throws IOException {
    Weights.load(this, ConfigJson.weights(folder, WEIGHTS), as);
  }

  /** From {@code config.json} and weights that are somewhere else, such as in a single file. */
  public static UNet2DConditionModel load(JsonNode config, NamedTensors weights, DType as)
      throws IOException {
    var model = new UNet2DConditionModel(UNetConfig.of(config));
    Weights.load(model, weights, as);
    return model;
  }

  /** Writes {@code config.json} and the weights, as {@code as}, into {@code folder}. */
  public void save(Path folder, DType as, Map<String, String> metadata) throws IOException {
    Json.write(folder.resolve("config.json"), config.toJson());
    Weights.save(this, folder.resolve(WEIGHTS), as, metadata);
  }

  /** Its shape. */
  public UNetConfig config() {
    return config;
  }

  /**
   * What the model was trained to predict, epsilon or v, owned by the caller's scope.
   *
   * @param sample noisy latents [B, C, H, W]; the result has their size and element type
   * @param timesteps [B] or [1], 0..1000, may be fractional; numbers of the host, which are moved
   * @param encoderHiddenStates text embeddings [B, L, D], on the device of the sample
   */
  public Tensor forward(Tensor sample, Tensor timesteps, Tensor encoderHiddenStates) {
    return forward(sample, timesteps, encoderHiddenStates, null, null, null);
  }

  /**
   * What a ControlNet adds to the maps that go across in the U-Net and to the middle. Its tensors
   * belong to the scope they were made in.
   *
   * @param down one for each map, finest first, [B, C, H, W]
   */
  public record Residuals(List<Tensor> down, Tensor mid) {
    public Residuals {
      down = List.copyOf(down);
    }

    /** All {@code scale} times. */
    public Residuals times(double scale) {
      return each(map -> map.mul(scale));
    }

    /** What {@code change} makes of every map. */
    Residuals each(UnaryOperator<Tensor> change) {
      return new Residuals(down.stream().map(change).toList(), change.apply(mid));
    }

    /** The sum of what two ControlNets add. */
    public Residuals plus(Residuals other) {
      if (other.down.size() != down.size()) {
        throw new IllegalArgumentException("ControlNets of different models do not go together");
      }
      List<Tensor> sums = new ArrayList<>();
      for (int i = 0; i < down.size(); i++) {
        sums.add(down.get(i).add(other.down.get(i)));
      }
      return new Residuals(sums, mid.add(other.mid));
    }

    /** {@code skips}, the last map first, each with its residual. */
    Deque<Tensor> addTo(Deque<Tensor> skips) {
      if (skips.size() != down.size()) {
        throw new IllegalArgumentException(
            "the ControlNet adds to %d maps, the U-Net has %d: it is for another model"
                .formatted(down.size(), skips.size()));
      }
      Deque<Tensor> sums = new ArrayDeque<>();
      Iterator<Tensor> maps = skips.descendingIterator();
      down.forEach(residual -> sums.push(maps.next().add(residual)));
      return sums;
    }
  }

  /**
   * The same, with what Stable Diffusion XL is told besides and what ControlNets add.
   *
   * @param added where the model {@link UNetConfig#takesAddedConditions}, else null
   * @param timestepCond the number [B] of a model that {@link UNetConfig#takesTimestepCond}; null
   *     leaves it out, as diffusers does
   * @param control null for none
   */
  public Tensor forward(
      Tensor sample,
      Tensor timesteps,
      Tensor encoderHiddenStates,
      @Nullable AddedConditions added,
      @Nullable Tensor timestepCond,
      @Nullable Residuals control) {
    check("U-Net", config, sample, timesteps, encoderHiddenStates, added);
    Tensor time = time(sample, timesteps, added, timestepCond);
    Tensor text = encoderHiddenStates.to(sample.dtype());
    return Rows.apply(
        sample,
        rows ->
            predict(
                rows.apply(sample),
                rows.apply(time),
                rows.apply(text),
                control == null ? null : control.each(rows)));
  }

  private Tensor predict(Tensor sample, Tensor time, Tensor text, @Nullable Residuals control) {
    Deque<Tensor> skips = new ArrayDeque<>();
    Tensor x = down(sample, time, text, skips);
    if (control != null) {
      x = x.add(control.mid());
      skips = control.addTo(skips);
    }
    for (Up block : upBlocks) {
      x = block.forward(x, time, text, skips);
    }
    return convOut.forward(convNormOut.forwardSilu(x));
  }

  /**
   * What the middle of the network makes of its input, [B, C, h, w] at the coarsest resolution:
   * features for discriminators, at half the cost of a prediction.
   */
  public Tensor features(
      Tensor sample,
      Tensor timesteps,
      Tensor encoderHiddenStates,
      @Nullable AddedConditions added) {
    check("U-Net", config, sample, timesteps, encoderHiddenStates, added);
    Tensor time = time(sample, timesteps, added, null);
    return down(sample, time, encoderHiddenStates.to(sample.dtype()), new ArrayDeque<>());
  }

  /** First convolution to the middle; every map that goes across is pushed on {@code skips}. */
  private Tensor down(Tensor sample, Tensor time, Tensor text, Deque<Tensor> skips) {
    Tensor x = convIn.forward(sample.channelsLast());
    skips.push(x);
    for (Down block : downBlocks) {
      x = block.forward(x, time, text, skips);
    }
    return midBlock.forward(x, time, text);
  }

  /** What resnets are told, [B, 4·first]. */
  private Tensor time(
      Tensor sample,
      Tensor timesteps,
      @Nullable AddedConditions added,
      @Nullable Tensor timestepCond) {
    if (timestepCond != null && !config.takesTimestepCond()) {
      throw new IllegalArgumentException(
          "this U-Net embeds no number beside time (time_cond_proj_dim); got " + timestepCond);
    }
    return Functional.silu(
        embedTime(config, timeEmbedding, addEmbedding, sample, timesteps, added, timestepCond));
  }

  static void check(
      String what,
      UNetConfig config,
      Tensor sample,
      Tensor timesteps,
      Tensor text,
      @Nullable AddedConditions added) {
    long batch = sample.size(0);
    if (sample.dim() != 4 || sample.size(1) != config.inChannels()) {
      throw new IllegalArgumentException(
          what + " sample " + sample + ", expected [B, " + config.inChannels() + ", H, W]");
    }
    if (timesteps.dim() != 1 || (timesteps.size(0) != batch && timesteps.size(0) != 1)) {
      throw new IllegalArgumentException(
          what + " timesteps " + timesteps + ", expected [" + batch + "] or [1]");
    }
    int width = config.crossAttentionDim().get(0);
    if (text.dim() != 3 || text.size(0) != batch || text.size(2) != width) {
      throw new IllegalArgumentException(
          "%s text embeddings %s, expected [%d, L, %d]; the text encoder must be this model's"
              .formatted(what, text, batch, width));
    }
    if (config.takesAddedConditions() != (added != null)) {
      throw new IllegalArgumentException(
          added == null
              ? "this " + what + " is of the XL family and needs text_embeds and time_ids"
              : "this " + what + " is not of the XL family, the model is");
    }
  }

  /** What resnets are told: time and, for XL, size and pooled caption; [B, 4·first]. */
  static Tensor embedTime(
      UNetConfig config,
      TimestepEmbedding timeEmbedding,
      @Nullable TimestepEmbedding addEmbedding,
      Tensor sample,
      Tensor timesteps,
      @Nullable AddedConditions added,
      @Nullable Tensor timestepCond) {
    int width = config.blockOutChannels().get(0);
    Tensor waves =
        TimestepEmbedding.sinusoids(
            timesteps.to(sample.device()), width, config.flipSinToCos(), config.freqShift());
    Tensor time =
        timestepCond == null
            ? timeEmbedding.forward(waves.to(sample.dtype()))
            : timeEmbedding.forward(
                waves.to(sample.dtype()),
                timestepCond.to(sample.device()),
                config.timeCondProjDim());
    if (addEmbedding != null && added != null) {
      time = time.add(addEmbedding.forward(added.waves(config, sample.dtype())));
    }
    return time.size(0) == sample.size(0) ? time : time.expand(sample.size(0), -1);
  }

  /** One resolution on the way down; every map it makes goes across to the way up. */
  static final class Down extends Module {
    private final List<ResnetBlock2D> resnets = new ArrayList<>();
    private final List<Transformer2DModel> attentions = new ArrayList<>();
    private final @Nullable Conv2d downsampler;

    Down(UNetConfig config, int level, Deque<Integer> skips) {
      int out = config.blockOutChannels().get(level);
      int in = config.blockOutChannels().get(Math.max(level - 1, 0));
      for (int i = 0; i < config.layersPerBlock().get(level); i++) {
        resnets.add(child("resnets." + i, resnet(i == 0 ? in : out, out, config)));
        if (config.downAttends(level)) {
          attentions.add(child("attentions." + i, attention(out, level, config)));
        }
        skips.push(out);
      }
      boolean last = level == config.levels() - 1;
      downsampler = last ? null : child("downsamplers.0.conv", new Conv2d(out, out, 3, 2, 1));
      if (!last) {
        skips.push(out);
      }
    }

    Tensor forward(Tensor x, Tensor time, Tensor text, Deque<Tensor> skips) {
      for (int i = 0; i < resnets.size(); i++) {
        x = resnets.get(i).forward(x, time);
        if (!attentions.isEmpty()) {
          x = attentions.get(i).forward(x, text);
        }
        skips.push(x);
      }
      if (downsampler != null) {
        x = downsampler.forward(x);
        skips.push(x);
      }
      return x;
    }
  }

  /** The coarsest resolution. */
  static final class Mid extends Module {
    private final ResnetBlock2D first;
    private final Transformer2DModel attention;
    private final ResnetBlock2D second;

    Mid(UNetConfig config) {
      int level = config.levels() - 1;
      int channels = config.blockOutChannels().get(level);
      first = child("resnets.0", resnet(channels, channels, config));
      attention = child("attentions.0", attention(channels, level, config));
      second = child("resnets.1", resnet(channels, channels, config));
    }

    Tensor forward(Tensor x, Tensor time, Tensor text) {
      return second.forward(attention.forward(first.forward(x, time), text), time);
    }
  }

  /** One resolution on the way up; each resnet takes the map of the way down beside its own. */
  private static final class Up extends Module {
    private final List<ResnetBlock2D> resnets = new ArrayList<>();
    private final List<Transformer2DModel> attentions = new ArrayList<>();
    private final @Nullable Conv2d upsampler;

    Up(UNetConfig config, int index, Deque<Integer> skips) {
      int level = config.levels() - 1 - index;
      int out = config.blockOutChannels().get(level);
      int in = config.blockOutChannels().get(Math.min(level + 1, config.levels() - 1));
      for (int i = 0; i < config.layersPerBlock().get(level) + 1; i++) {
        int own = i == 0 ? in : out;
        resnets.add(child("resnets." + i, resnet(own + skips.pop(), out, config)));
        if (config.upAttends(index)) {
          attentions.add(child("attentions." + i, attention(out, level, config)));
        }
      }
      upsampler = level == 0 ? null : child("upsamplers.0.conv", new Conv2d(out, out, 3, 1, 1));
    }

    Tensor forward(Tensor x, Tensor time, Tensor text, Deque<Tensor> skips) {
      for (int i = 0; i < resnets.size(); i++) {
        x = resnets.get(i).forward(Tensor.cat(1, x, skips.pop()), time);
        if (!attentions.isEmpty()) {
          x = attentions.get(i).forward(x, text);
        }
      }
      if (upsampler == null) {
        return x;
      }
      Tensor next = skips.element(); // its size, as odd sizes are rounded up on the way down
      return upsampler.forward(Functional.upsampleNearest(x, next.size(2), next.size(3)));
    }
  }

  private static ResnetBlock2D resnet(int in, int out, UNetConfig config) {
    int time = 4 * config.blockOutChannels().get(0);
    return new ResnetBlock2D(in, out, time, config.normNumGroups(), config.normEps());
  }

  private static Transformer2DModel attention(int channels, int level, UNetConfig config) {
    int layers = config.transformerLayersPerBlock().get(level);
    return new Transformer2DModel(channels, level, layers, config);
  }
}
