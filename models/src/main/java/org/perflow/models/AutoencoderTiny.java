package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.perflow.io.Weights;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Conv2d;
import org.perflow.tensor.nn.Module;

/**
 * TAESD, a tiny autoencoder: pictures from latents in a moment, a little soft, for previews. Its
 * latents are scaled, as the U-Net sees them. Owns its weights until closed; forward passes may run
 * on several threads at once. Computes in the element type of its input.
 */
public final class AutoencoderTiny extends Module {
  private static final String WEIGHTS = "diffusion_pytorch_model.safetensors";

  private final Config config;
  private final Layers encoder;
  private final Layers decoder;

  /**
   * Its shape, by diffusers' keys in camel case.
   *
   * @param encoderBlockOutChannels channels of each resolution, finest first
   * @param decoderBlockOutChannels channels of each resolution, coarsest first
   */
  public record Config(
      int inChannels,
      int outChannels,
      int latentChannels,
      List<Integer> encoderBlockOutChannels,
      List<Integer> decoderBlockOutChannels,
      List<Integer> numEncoderBlocks,
      List<Integer> numDecoderBlocks,
      double scalingFactor) {
    public Config {
      encoderBlockOutChannels = List.copyOf(encoderBlockOutChannels);
      decoderBlockOutChannels = List.copyOf(decoderBlockOutChannels);
      numEncoderBlocks = List.copyOf(numEncoderBlocks);
      numDecoderBlocks = List.copyOf(numDecoderBlocks);
      if (encoderBlockOutChannels.size() != numEncoderBlocks.size()
          || decoderBlockOutChannels.size() != numDecoderBlocks.size()
          || numEncoderBlocks.isEmpty()
          || numDecoderBlocks.isEmpty()) {
        throw new IllegalArgumentException(
            "block_out_channels and num_blocks of encoder and decoder must be equally long");
      }
    }

    /** Pixels of a side to one latent: 8 as published. */
    public int downsampling() {
      return 1 << (numDecoderBlocks.size() - 1);
    }

    /**
     * From diffusers' {@code config.json}; extra keys are left alone.
     *
     * @throws IllegalArgumentException naming the key that asks for a part that is not built
     */
    public static Config of(JsonNode node) {
      ConfigJson json = new ConfigJson(node);
      json.only("_class_name", "AutoencoderTiny");
      json.only("act_fn", "relu");
      json.only("upsample_fn", "nearest");
      json.only("upsampling_scaling_factor", 2);
      List<Integer> channels = List.of(64, 64, 64, 64);
      return new Config(
          json.integer("in_channels", 3),
          json.integer("out_channels", 3),
          json.integer("latent_channels", 4),
          json.integers("encoder_block_out_channels", channels),
          json.integers("decoder_block_out_channels", channels),
          json.integers("num_encoder_blocks", List.of(1, 3, 3, 3)),
          json.integers("num_decoder_blocks", List.of(3, 3, 3, 1)),
          json.number("scaling_factor", 1));
    }
  }

  /** Without weights yet: initialise or load them. */
  public AutoencoderTiny(Config config) {
    this.config = config;
    encoder = child("encoder", encoder(config));
    decoder = child("decoder", decoder(config));
  }

  /** Reads {@code config.json} and the weights, as {@code as}, from a model folder. */
  public static AutoencoderTiny load(Path folder, DType as) throws IOException {
    var model = new AutoencoderTiny(ConfigJson.read(folder, Config::of));
    Weights.load(model, ConfigJson.weights(folder, WEIGHTS), as);
    return model;
  }

  /** Its shape. */
  public Config config() {
    return config;
  }

  /** Latents [B, C, h, w] of pictures x [B, 3, H, W] in -1..1, owned by the caller's scope. */
  public Tensor encode(Tensor x) {
    return encoder.forward(x.channelsLast().add(1).div(2)).mul(config.scalingFactor());
  }

  /** Pictures [B, 3, H, W], about -1..1, of latents [B, C, h, w], owned by the caller's scope. */
  public Tensor decode(Tensor z) {
    if (z.dim() != 4 || z.size(1) != config.latentChannels()) {
      throw new IllegalArgumentException(
          "latents " + z + ", expected [B, " + config.latentChannels() + ", h, w]");
    }
    Tensor x = z.channelsLast().div(config.scalingFactor());
    return decoder.forward(x.div(3).tanh().mul(3)).mul(2).sub(1);
  }

  private static Layers encoder(Config config) {
    Layers layers = new Layers();
    int channels = 0;
    for (int i = 0; i < config.numEncoderBlocks().size(); i++) {
      channels = config.encoderBlockOutChannels().get(i);
      if (i == 0) {
        layers.conv(new Conv2d(config.inChannels(), channels, 3, 1, 1));
      } else {
        layers.conv(new Conv2d(channels, channels, 3, 2, 1, false));
      }
      layers.blocks(config.numEncoderBlocks().get(i), channels);
    }
    layers.conv(new Conv2d(channels, config.latentChannels(), 3, 1, 1));
    return layers;
  }

  private static Layers decoder(Config config) {
    Layers layers = new Layers();
    int count = config.numDecoderBlocks().size();
    int first = config.decoderBlockOutChannels().get(0);
    layers.conv(new Conv2d(config.latentChannels(), first, 3, 1, 1));
    layers.plain(Tensor::relu);
    for (int i = 0; i < count; i++) {
      boolean last = i == count - 1;
      int channels = config.decoderBlockOutChannels().get(i);
      layers.blocks(config.numDecoderBlocks().get(i), channels);
      if (!last) {
        layers.plain(x -> Functional.upsampleNearest(x, 2 * x.size(2), 2 * x.size(3)));
      }
      layers.conv(new Conv2d(channels, last ? config.outChannels() : channels, 3, 1, 1, last));
    }
    return layers;
  }

  /** Layers one after the other, named by their place among all of them. */
  private static final class Layers extends Module {
    private interface Layer {
      Tensor forward(Tensor x);
    }

    private final List<Layer> layers = new ArrayList<>();

    void conv(Conv2d conv) {
      layers.add(child("layers." + layers.size(), conv)::forward);
    }

    void blocks(int count, int channels) {
      for (int i = 0; i < count; i++) {
        layers.add(child("layers." + layers.size(), new Block(channels))::forward);
      }
    }

    void plain(Layer layer) {
      layers.add(layer);
    }

    Tensor forward(Tensor x) {
      for (Layer layer : layers) {
        x = layer.forward(x);
      }
      return x;
    }
  }

  /** Three convolutions with a shortcut around them. */
  private static final class Block extends Module {
    private final Conv2d conv0;
    private final Conv2d conv2;
    private final Conv2d conv4;

    Block(int channels) {
      conv0 = child("conv.0", new Conv2d(channels, channels, 3, 1, 1));
      conv2 = child("conv.2", new Conv2d(channels, channels, 3, 1, 1));
      conv4 = child("conv.4", new Conv2d(channels, channels, 3, 1, 1));
    }

    Tensor forward(Tensor x) {
      Tensor h = conv2.forward(conv0.forward(x).relu()).relu();
      return conv4.forward(h).add(x).relu();
    }
  }
}
