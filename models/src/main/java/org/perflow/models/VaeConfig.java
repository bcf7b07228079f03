package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Json;

/**
 * The shape of an {@link AutoencoderKL}, by diffusers' keys in camel case. Immutable.
 *
 * @param blockOutChannels channels of each resolution, finest first; there is a factor of 2 between
 *     neighbours
 * @param scalingFactor latents are multiplied by it after encoding and divided before decoding, by
 *     the caller
 * @param shiftFactor subtracted before scaling, by the caller; null for Stable Diffusion
 */
public record VaeConfig(
    int sampleSize,
    int inChannels,
    int outChannels,
    int latentChannels,
    List<Integer> blockOutChannels,
    int layersPerBlock,
    int normNumGroups,
    double scalingFactor,
    @Nullable Double shiftFactor,
    boolean forceUpcast,
    boolean useQuantConv,
    boolean usePostQuantConv,
    boolean midBlockAddAttention) {

  private static final String DOWN = "DownEncoderBlock2D";
  private static final String UP = "UpDecoderBlock2D";

  public VaeConfig {
    blockOutChannels = List.copyOf(blockOutChannels);
    if (blockOutChannels.isEmpty()) {
      throw new IllegalArgumentException("block_out_channels: got none, expected one a resolution");
    }
    for (int channels : blockOutChannels) {
      ConfigJson.checkDivides("norm_num_groups", normNumGroups, channels);
    }
  }

  /** The same for latents of another deviation. */
  public VaeConfig withScalingFactor(double factor) {
    return new VaeConfig(
        sampleSize,
        inChannels,
        outChannels,
        latentChannels,
        blockOutChannels,
        layersPerBlock,
        normNumGroups,
        factor,
        shiftFactor,
        forceUpcast,
        useQuantConv,
        usePostQuantConv,
        midBlockAddAttention);
  }

  /** Pixels of a side to one latent: 8 for Stable Diffusion. */
  public int downsampling() {
    return 1 << (blockOutChannels.size() - 1);
  }

  /**
   * From diffusers' {@code vae/config.json}; extra keys are left alone.
   *
   * @throws IllegalArgumentException naming the key that asks for a part that is not built
   */
  public static VaeConfig of(JsonNode node) {
    ConfigJson json = new ConfigJson(node);
    json.only("_class_name", "AutoencoderKL");
    json.only("act_fn", "silu", "swish");
    json.only("latents_mean");
    json.only("latents_std");
    List<Integer> channels = json.integers("block_out_channels", List.of(64));
    checkTypes(json.texts("down_block_types", List.of(DOWN)), DOWN, channels.size());
    checkTypes(json.texts("up_block_types", List.of(UP)), UP, channels.size());
    return new VaeConfig(
        json.side("sample_size", 32),
        json.integer("in_channels", 3),
        json.integer("out_channels", 3),
        json.integer("latent_channels", 4),
        channels,
        json.integer("layers_per_block", 1),
        json.integer("norm_num_groups", 32),
        json.number("scaling_factor", 0.18215),
        json.number("shift_factor"),
        json.flag("force_upcast", true),
        json.flag("use_quant_conv", true),
        json.flag("use_post_quant_conv", true),
        json.flag("mid_block_add_attention", true));
  }

  private static void checkTypes(List<String> types, String built, int levels) {
    if (!types.equals(Collections.nCopies(levels, built))) {
      throw new IllegalArgumentException(
          "VAE blocks: got " + types + ", expected " + levels + " times " + built);
    }
  }

  /** As diffusers reads it. */
  public ObjectNode toJson() {
    int levels = blockOutChannels.size();
    ObjectNode json = Json.MAPPER.createObjectNode();
    json.put("_class_name", "AutoencoderKL");
    json.put("sample_size", sampleSize);
    json.put("in_channels", inChannels);
    json.put("out_channels", outChannels);
    json.put("latent_channels", latentChannels);
    json.set("down_block_types", Json.MAPPER.valueToTree(Collections.nCopies(levels, DOWN)));
    json.set("up_block_types", Json.MAPPER.valueToTree(Collections.nCopies(levels, UP)));
    json.set("block_out_channels", Json.MAPPER.valueToTree(blockOutChannels));
    json.put("layers_per_block", layersPerBlock);
    json.put("norm_num_groups", normNumGroups);
    json.put("scaling_factor", scalingFactor);
    json.put("shift_factor", shiftFactor);
    json.put("force_upcast", forceUpcast);
    json.put("use_quant_conv", useQuantConv);
    json.put("use_post_quant_conv", usePostQuantConv);
    json.put("mid_block_add_attention", midBlockAddAttention);
    return json;
  }
}
