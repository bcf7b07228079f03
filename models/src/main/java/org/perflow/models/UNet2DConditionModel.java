package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Json;
import org.perflow.io.NamedTensors;
import org.perflow.io.Weights;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Conv2d;
import org.perflow.tensor.nn.GroupNorm;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;

/**
 * The denoiser of Stable Diffusion 1 and 2 (Rombach et al., arXiv 2112.10752): a U-Net over latents
 * that knows the time and attends to the caption. Owns its weights until closed; forward passes may
 * run on several threads at once. Computes in the element type of its input, whatever the weights
 * are. Resnets and transformers are blocks of {@link org.perflow.tensor.Recompute}.
 */
public final class UNet2DConditionModel extends Module {
  private static final String WEIGHTS = "diffusion_pytorch_model.safetensors";

  private final UNetConfig config;
  private final Conv2d convIn;
  private final Linear timeLinear1;
  private final Linear timeLinear2;
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
    timeLinear1 = child("time_embedding.linear_1", new Linear(first, 4 * first));
    timeLinear2 = child("time_embedding.linear_2", new Linear(4 * first, 4 * first));
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
    Weights.load(model, ConfigJson.weights(folder, WEIGHTS), as);
    return model;
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
   * @param sample noisy latents [B, C, H, W]; the result has their shape and element type
   * @param timesteps [B] or [1], 0..1000, may be fractional
   * @param encoderHiddenStates text embeddings [B, L, D]
   */
  public Tensor forward(Tensor sample, Tensor timesteps, Tensor encoderHiddenStates) {
    check(sample, timesteps, encoderHiddenStates);
    DType type = sample.dtype();
    Tensor time = Functional.silu(timeEmbedding(timesteps, type)); // [B, 4·first]
    if (time.size(0) != sample.size(0)) {
      time = time.expand(sample.size(0), -1);
    }
    Tensor text = encoderHiddenStates.to(type);
    Tensor x = convIn.forward(sample.channelsLast());
    Deque<Tensor> skips = new ArrayDeque<>();
    skips.push(x);
    for (Down block : downBlocks) {
      x = block.forward(x, time, text, skips);
    }
    x = midBlock.forward(x, time, text);
    for (Up block : upBlocks) {
      x = block.forward(x, time, text, skips);
    }
    return convOut.forward(Functional.silu(convNormOut.forward(x)));
  }

  private void check(Tensor sample, Tensor timesteps, Tensor text) {
    long batch = sample.size(0);
    if (sample.dim() != 4 || sample.size(1) != config.inChannels()) {
      throw new IllegalArgumentException(
          "U-Net sample " + sample + ", expected [B, " + config.inChannels() + ", H, W]");
    }
    if (timesteps.dim() != 1 || (timesteps.size(0) != batch && timesteps.size(0) != 1)) {
      throw new IllegalArgumentException(
          "U-Net timesteps " + timesteps + ", expected [" + batch + "] or [1]");
    }
    int width = config.crossAttentionDim().get(0);
    if (text.dim() != 3 || text.size(0) != batch || text.size(2) != width) {
      throw new IllegalArgumentException(
          "U-Net text embeddings %s, expected [%d, L, %d]; the text encoder must be this model's"
              .formatted(text, batch, width));
    }
  }

  private Tensor timeEmbedding(Tensor timesteps, DType type) {
    int width = config.blockOutChannels().get(0);
    Tensor waves = sinusoids(timesteps, width, config.flipSinToCos(), config.freqShift()).to(type);
    return timeLinear2.forward(Functional.silu(timeLinear1.forward(waves)));
  }

  /**
   * Sinusoidal embedding (Ho et al., arXiv 2006.11239), float32 whatever the model computes in:
   * bfloat16 could not tell 999 from 1000. timesteps [B] to [B, width].
   */
  static Tensor sinusoids(Tensor timesteps, int width, boolean flipSinToCos, double freqShift) {
    int half = width / 2;
    Tensor exponent = Tensor.arange(half).to(DType.F32).mul(-Math.log(10000)).div(half - freqShift);
    Tensor angle = timesteps.to(DType.F32).unsqueeze(1).mul(exponent.exp()); // [B, half]
    Tensor waves =
        flipSinToCos
            ? Tensor.cat(1, angle.cos(), angle.sin())
            : Tensor.cat(1, angle.sin(), angle.cos());
    return width % 2 == 0 ? waves : Functional.pad(waves, 0, 1, 0, 0);
  }

  /** One resolution on the way down; every map it makes goes across to the way up. */
  private static final class Down extends Module {
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
  private static final class Mid extends Module {
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
