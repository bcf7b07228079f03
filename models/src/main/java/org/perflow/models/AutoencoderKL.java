package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Json;
import org.perflow.io.NamedTensors;
import org.perflow.io.WeightFiles;
import org.perflow.io.Weights;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Rows;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Conv2d;
import org.perflow.tensor.nn.GroupNorm;
import org.perflow.tensor.nn.Module;

/**
 * Stable Diffusion's autoencoder (Rombach et al., arXiv 2112.10752, section 3.1) between pictures
 * in -1..1 and latents that are neither scaled nor shifted. Owns its weights until closed; forward
 * passes may run on several threads at once. Computes in the element type of its input.
 */
public final class AutoencoderKL extends Module {
  private static final String WEIGHTS = "diffusion_pytorch_model.safetensors";
  private static final double EPS = 1e-6;

  private final VaeConfig config;
  private final Encoder encoder;
  private final Decoder decoder;
  private final @Nullable Conv2d quantConv;
  private final @Nullable Conv2d postQuantConv;

  /** Without weights yet: initialise or load them. */
  public AutoencoderKL(VaeConfig config) {
    this.config = config;
    int latent = config.latentChannels();
    encoder = child("encoder", new Encoder(config));
    decoder = child("decoder", new Decoder(config));
    quantConv =
        config.useQuantConv()
            ? child("quant_conv", new Conv2d(2 * latent, 2 * latent, 1, 1, 0))
            : null;
    postQuantConv =
        config.usePostQuantConv()
            ? child("post_quant_conv", new Conv2d(latent, latent, 1, 1, 0))
            : null;
  }

  /** Reads {@code config.json} and the weights, as {@code as}, from a model folder. */
  public static AutoencoderKL load(Path folder, DType as) throws IOException {
    var model = new AutoencoderKL(ConfigJson.read(folder, VaeConfig::of));
    model.loadWeights(folder, as);
    return model;
  }

  void loadWeights(Path folder, DType as) throws IOException {
    try (NamedTensors weights =
        OldNames.vae(WeightFiles.open(ConfigJson.weights(folder, WEIGHTS)))) {
      Weights.load(this, weights, as);
    }
  }

  /** From {@code config.json} and weights that are somewhere else, such as in a single file. */
  public static AutoencoderKL load(JsonNode config, NamedTensors weights, DType as)
      throws IOException {
    var model = new AutoencoderKL(VaeConfig.of(config));
    Weights.load(model, weights, as);
    return model;
  }

  /** Writes {@code config.json} and the weights, as {@code as}, into {@code folder}. */
  public void save(Path folder, DType as, Map<String, String> metadata) throws IOException {
    Json.write(folder.resolve("config.json"), config.toJson());
    Weights.save(this, folder.resolve(WEIGHTS), as, metadata);
  }

  /** Its shape. */
  public VaeConfig config() {
    return config;
  }

  /**
   * The latents' distribution for pictures x [B, 3, H, W] in -1..1: [B, 2C, h, w], mean in the
   * first C channels, logarithm of the variance (clamp it to -30..20) in the others. Owned by the
   * caller's scope.
   */
  public Tensor encodeMoments(Tensor x) {
    check(x, config.inChannels(), "picture");
    return Rows.apply(x, rows -> moments(rows.apply(x)));
  }

  /** The pictures [B, 3, H, W], about -1..1, of unscaled latents z [B, C, h, w]. */
  public Tensor decode(Tensor z) {
    check(z, config.latentChannels(), "latent");
    return Rows.apply(z, rows -> pictures(rows.apply(z)));
  }

  private Tensor moments(Tensor x) {
    Tensor moments = encoder.forward(x.channelsLast());
    return quantConv == null ? moments : quantConv.forward(moments);
  }

  private Tensor pictures(Tensor z) {
    Tensor x = z.channelsLast();
    return decoder.forward(postQuantConv == null ? x : postQuantConv.forward(x));
  }

  /**
   * {@link #encodeMoments} of pictures larger than the model was trained on, in overlapping tiles;
   * smaller ones whole. Without gradients.
   */
  public Tensor encodeMomentsTiled(Tensor x) {
    int tile = config.sampleSize();
    return fits(x, tile)
        ? encodeMoments(x)
        : Tiles.map(x, tile, tile / config.downsampling(), this::encodeMoments);
  }

  /** {@link #decode} in the same way. */
  public Tensor decodeTiled(Tensor z) {
    int tile = config.sampleSize() / config.downsampling();
    return fits(z, tile) ? decode(z) : Tiles.map(z, tile, config.sampleSize(), this::decode);
  }

  private static boolean fits(Tensor x, int tile) {
    return x.size(2) <= tile && x.size(3) <= tile;
  }

  private static void check(Tensor x, int channels, String what) {
    if (x.dim() != 4 || x.size(1) != channels) {
      throw new IllegalArgumentException(
          "VAE " + what + " " + x + ", expected [B, " + channels + ", H, W]");
    }
  }

  private static final class Encoder extends Module {
    private final Conv2d convIn;
    private final List<Down> downBlocks = new ArrayList<>();
    private final Mid midBlock;
    private final GroupNorm convNormOut;
    private final Conv2d convOut;

    Encoder(VaeConfig config) {
      List<Integer> channels = config.blockOutChannels();
      int last = channels.get(channels.size() - 1);
      convIn = child("conv_in", new Conv2d(config.inChannels(), channels.get(0), 3, 1, 1));
      for (int level = 0; level < channels.size(); level++) {
        downBlocks.add(child("down_blocks." + level, new Down(config, level)));
      }
      midBlock = child("mid_block", new Mid(last, config));
      convNormOut = child("conv_norm_out", new GroupNorm(config.normNumGroups(), last, EPS));
      convOut = child("conv_out", new Conv2d(last, 2 * config.latentChannels(), 3, 1, 1));
    }

    Tensor forward(Tensor x) {
      x = convIn.forward(x);
      for (Down block : downBlocks) {
        x = block.forward(x);
      }
      x = midBlock.forward(x);
      return convOut.forward(convNormOut.forwardSilu(x));
    }
  }

  private static final class Decoder extends Module {
    private final Conv2d convIn;
    private final Mid midBlock;
    private final List<Up> upBlocks = new ArrayList<>();
    private final GroupNorm convNormOut;
    private final Conv2d convOut;

    Decoder(VaeConfig config) {
      List<Integer> channels = config.blockOutChannels();
      int last = channels.get(channels.size() - 1);
      convIn = child("conv_in", new Conv2d(config.latentChannels(), last, 3, 1, 1));
      midBlock = child("mid_block", new Mid(last, config));
      for (int index = 0; index < channels.size(); index++) {
        upBlocks.add(child("up_blocks." + index, new Up(config, channels.size() - 1 - index)));
      }
      int first = channels.get(0);
      convNormOut = child("conv_norm_out", new GroupNorm(config.normNumGroups(), first, EPS));
      convOut = child("conv_out", new Conv2d(first, config.outChannels(), 3, 1, 1));
    }

    Tensor forward(Tensor z) {
      Tensor x = midBlock.forward(convIn.forward(z));
      for (Up block : upBlocks) {
        x = block.forward(x);
      }
      return convOut.forward(convNormOut.forwardSilu(x));
    }
  }

  private static final class Down extends Module {
    private final List<ResnetBlock2D> resnets = new ArrayList<>();
    private final @Nullable Conv2d downsampler;

    Down(VaeConfig config, int level) {
      int out = config.blockOutChannels().get(level);
      int in = config.blockOutChannels().get(Math.max(level - 1, 0));
      for (int i = 0; i < config.layersPerBlock(); i++) {
        resnets.add(child("resnets." + i, resnet(i == 0 ? in : out, out, config)));
      }
      boolean last = level == config.blockOutChannels().size() - 1;
      downsampler = last ? null : child("downsamplers.0.conv", new Conv2d(out, out, 3, 2, 0));
    }

    Tensor forward(Tensor x) {
      for (ResnetBlock2D resnet : resnets) {
        x = resnet.forward(x);
      }
      // The published weights expect zeros right and below only.
      return downsampler == null ? x : downsampler.forward(Functional.pad(x, 0, 1, 0, 1));
    }
  }

  private static final class Up extends Module {
    private final List<ResnetBlock2D> resnets = new ArrayList<>();
    private final @Nullable Conv2d upsampler;

    Up(VaeConfig config, int level) {
      int out = config.blockOutChannels().get(level);
      int levels = config.blockOutChannels().size();
      int in = config.blockOutChannels().get(Math.min(level + 1, levels - 1));
      for (int i = 0; i < config.layersPerBlock() + 1; i++) {
        resnets.add(child("resnets." + i, resnet(i == 0 ? in : out, out, config)));
      }
      upsampler = level == 0 ? null : child("upsamplers.0.conv", new Conv2d(out, out, 3, 1, 1));
    }

    Tensor forward(Tensor x) {
      for (ResnetBlock2D resnet : resnets) {
        x = resnet.forward(x);
      }
      return upsampler == null
          ? x
          : upsampler.forward(Functional.upsampleNearest(x, 2 * x.size(2), 2 * x.size(3)));
    }
  }

  /** The coarsest resolution, where every pixel looks at all others, with one head. */
  private static final class Mid extends Module {
    private final ResnetBlock2D first;
    private final @Nullable GroupNorm norm;
    private final Transformer2DModel.@Nullable Attention attention;
    private final ResnetBlock2D second;

    Mid(int channels, VaeConfig config) {
      boolean attends = config.midBlockAddAttention();
      first = child("resnets.0", resnet(channels, channels, config));
      norm =
          attends
              ? child(
                  "attentions.0.group_norm", new GroupNorm(config.normNumGroups(), channels, EPS))
              : null;
      attention =
          attends
              ? child(
                  "attentions.0",
                  new Transformer2DModel.Attention(channels, channels, 1, true, false))
              : null;
      second = child("resnets.1", resnet(channels, channels, config));
    }

    Tensor forward(Tensor x) {
      x = first.forward(x);
      if (norm != null && attention != null) {
        long channels = x.size(1);
        Tensor pixels = norm.forward(x).permute(0, 2, 3, 1).reshape(x.size(0), -1, channels);
        Tensor h = attention.forward(pixels, pixels); // [B, H·W, C]
        x = h.reshape(x.size(0), x.size(2), x.size(3), channels).permute(0, 3, 1, 2).add(x);
      }
      return second.forward(x);
    }
  }

  private static ResnetBlock2D resnet(int in, int out, VaeConfig config) {
    return new ResnetBlock2D(in, out, 0, config.normNumGroups(), EPS);
  }
}
