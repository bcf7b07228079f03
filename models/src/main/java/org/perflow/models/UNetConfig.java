package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import org.perflow.io.Json;

/**
 * The shape of a {@link UNet2DConditionModel}, by diffusers' keys in camel case; lists hold one
 * value a level, finest first. Immutable.
 *
 * @param sampleSize latent pixels of a side that it was trained on
 * @param attentionHeads heads of a level; diffusers calls this key {@code attention_head_dim},
 *     which it is not (diffusers issue 2011)
 * @param crossAttentionDim width of the text embeddings
 * @param additionTimeEmbedDim waves of each of XL's six sizes; 0 without {@code
 *     addition_embed_type}
 * @param projectionClassEmbeddingsInputDim waves of all six and the pooled caption; 0 without
 */
public record UNetConfig(
    int sampleSize,
    int inChannels,
    int outChannels,
    List<String> downBlockTypes,
    List<String> upBlockTypes,
    List<Integer> blockOutChannels,
    List<Integer> layersPerBlock,
    List<Integer> transformerLayersPerBlock,
    List<Integer> attentionHeads,
    List<Integer> crossAttentionDim,
    int normNumGroups,
    double normEps,
    boolean useLinearProjection,
    boolean upcastAttention,
    boolean flipSinToCos,
    double freqShift,
    int additionTimeEmbedDim,
    int projectionClassEmbeddingsInputDim,
    int timeCondProjDim) {

  private static final String CROSS_DOWN = "CrossAttnDownBlock2D";
  private static final String CROSS_UP = "CrossAttnUpBlock2D";
  private static final int MOST_BLOCKS = 1024; // XL has 34 on its way down

  public UNetConfig {
    downBlockTypes = List.copyOf(downBlockTypes);
    upBlockTypes = List.copyOf(upBlockTypes);
    blockOutChannels = List.copyOf(blockOutChannels);
    layersPerBlock = List.copyOf(layersPerBlock);
    transformerLayersPerBlock = List.copyOf(transformerLayersPerBlock);
    attentionHeads = List.copyOf(attentionHeads);
    crossAttentionDim = List.copyOf(crossAttentionDim);
    check("down_block_types", downBlockTypes, List.of(CROSS_DOWN, "DownBlock2D"));
    check("up_block_types", upBlockTypes, List.of(CROSS_UP, "UpBlock2D"));
    if ((additionTimeEmbedDim > 0) != (projectionClassEmbeddingsInputDim > 0)) {
      throw new IllegalArgumentException(
          "addition_time_embed_dim and projection_class_embeddings_input_dim go together; got "
              + additionTimeEmbedDim
              + " and "
              + projectionClassEmbeddingsInputDim);
    }
    int levels = blockOutChannels.size();
    for (List<?> list :
        List.of(
            downBlockTypes,
            upBlockTypes,
            layersPerBlock,
            transformerLayersPerBlock,
            attentionHeads,
            crossAttentionDim)) {
      if (levels == 0 || list.size() != levels) {
        throw new IllegalArgumentException(
            "block_out_channels " + blockOutChannels + " and " + list + " must be equally long");
      }
    }
    long blocks = 0;
    for (int level = 0; level < levels; level++) {
      boolean attends =
          level == levels - 1 // as the middle does
              || downBlockTypes.get(level).equals(CROSS_DOWN)
              || upBlockTypes.get(levels - 1 - level).equals(CROSS_UP);
      int channels = blockOutChannels.get(level);
      ConfigJson.checkDivides("norm_num_groups", normNumGroups, channels);
      ConfigJson.checkDivides(
          "attention_head_dim", attends ? attentionHeads.get(level) : 1, channels);
      blocks += (long) layersPerBlock.get(level) * transformerLayersPerBlock.get(level);
    }
    if (blocks > MOST_BLOCKS) {
      throw new IllegalArgumentException(
          "layers_per_block and transformer_layers_per_block: got %d blocks, expected up to %d"
              .formatted(blocks, MOST_BLOCKS));
    }
  }

  private static void check(String key, List<String> types, List<String> built) {
    if (!built.containsAll(types)) {
      throw new IllegalArgumentException(key + ": got " + types + ", supported: " + built);
    }
  }

  /** Resolutions, finest first. */
  public int levels() {
    return blockOutChannels.size();
  }

  /** Whether it is of the XL family, which is told sizes and a pooled caption besides. */
  public boolean takesAddedConditions() {
    return projectionClassEmbeddingsInputDim > 0;
  }

  /** Whether it embeds one more number beside time, such as the guidance it is to show. */
  public boolean takesTimestepCond() {
    return timeCondProjDim > 0;
  }

  /** The same network with such an input of that width (256 for LCM); 0 for none. */
  public UNetConfig withTimeCondProjDim(int width) {
    return new UNetConfig(
        sampleSize,
        inChannels,
        outChannels,
        downBlockTypes,
        upBlockTypes,
        blockOutChannels,
        layersPerBlock,
        transformerLayersPerBlock,
        attentionHeads,
        crossAttentionDim,
        normNumGroups,
        normEps,
        useLinearProjection,
        upcastAttention,
        flipSinToCos,
        freqShift,
        additionTimeEmbedDim,
        projectionClassEmbeddingsInputDim,
        width);
  }

  boolean downAttends(int level) {
    return downBlockTypes.get(level).equals(CROSS_DOWN);
  }

  boolean upAttends(int index) {
    return upBlockTypes.get(index).equals(CROSS_UP);
  }

  /**
   * From diffusers' {@code unet/config.json}; extra keys are left alone.
   *
   * @throws IllegalArgumentException naming the key that asks for a part that is not built
   */
  public static UNetConfig of(JsonNode node) {
    ConfigJson json = new ConfigJson(node);
    json.only("_class_name", "UNet2DConditionModel");
    refuseUnbuilt(json);
    List<Integer> channels = json.integers("block_out_channels", List.of(320, 640, 1280, 1280));
    int levels = channels.size();
    boolean added = json.text("addition_embed_type", "").equals("text_time");
    return new UNetConfig(
        json.side("sample_size", 64),
        json.integer("in_channels", 4),
        json.integer("out_channels", 4),
        json.texts("down_block_types", List.of(CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, "DownBlock2D")),
        json.texts("up_block_types", List.of("UpBlock2D", CROSS_UP, CROSS_UP, CROSS_UP)),
        channels,
        json.perLevel("layers_per_block", levels, 2),
        json.perLevel("transformer_layers_per_block", levels, 1),
        json.perLevel("attention_head_dim", levels, 8),
        json.perLevel("cross_attention_dim", levels, 1280),
        json.integer("norm_num_groups", 32),
        json.number("norm_eps", 1e-5),
        json.flag("use_linear_projection", false),
        json.flag("upcast_attention", false),
        json.flag("flip_sin_to_cos", true),
        json.number("freq_shift", 0),
        added ? json.integer("addition_time_embed_dim", 0) : 0,
        added ? json.integer("projection_class_embeddings_input_dim", 0) : 0,
        json.integer("time_cond_proj_dim", 0));
  }

  private static void refuseUnbuilt(ConfigJson json) {
    json.only("act_fn", "silu", "swish");
    json.only("addition_embed_type", "text_time");
    json.only("mid_block_type", "UNetMidBlock2DCrossAttn");
    json.only("resnet_time_scale_shift", "default");
    json.only("time_embedding_type", "positional");
    json.only("attention_type", "default");
    for (String key :
        List.of(
            "center_input_sample",
            "only_cross_attention",
            "mid_block_only_cross_attention",
            "dual_cross_attention",
            "resnet_skip_time_act",
            "class_embeddings_concat")) {
      json.only(key, false);
    }
    for (String key :
        List.of("mid_block_scale_factor", "resnet_out_scale_factor", "downsample_padding")) {
      json.only(key, 1);
    }
    json.only("dropout", 0);
    json.only("conv_in_kernel", 3);
    json.only("conv_out_kernel", 3);
    for (String key :
        List.of(
            "class_embed_type",
            "num_class_embeds",
            "num_attention_heads",
            "encoder_hid_dim",
            "encoder_hid_dim_type",
            "cross_attention_norm",
            "reverse_transformer_layers_per_block",
            "time_embedding_dim",
            "time_embedding_act_fn",
            "timestep_post_act")) {
      json.only(key);
    }
  }

  /** As diffusers reads it: what is absent there has its default. */
  public ObjectNode toJson() {
    ObjectNode json = Json.MAPPER.createObjectNode();
    json.put("_class_name", "UNet2DConditionModel");
    json.put("sample_size", sampleSize);
    json.put("in_channels", inChannels);
    json.put("out_channels", outChannels);
    json.set("down_block_types", Json.MAPPER.valueToTree(downBlockTypes));
    json.put("mid_block_type", "UNetMidBlock2DCrossAttn");
    json.set("up_block_types", Json.MAPPER.valueToTree(upBlockTypes));
    json.set("block_out_channels", Json.MAPPER.valueToTree(blockOutChannels));
    ConfigJson.put(json, "layers_per_block", layersPerBlock);
    ConfigJson.put(json, "transformer_layers_per_block", transformerLayersPerBlock);
    ConfigJson.put(json, "attention_head_dim", attentionHeads);
    ConfigJson.put(json, "cross_attention_dim", crossAttentionDim);
    json.put("norm_num_groups", normNumGroups);
    json.put("norm_eps", normEps);
    json.put("use_linear_projection", useLinearProjection);
    json.put("upcast_attention", upcastAttention);
    json.put("flip_sin_to_cos", flipSinToCos);
    json.put("freq_shift", freqShift);
    if (takesAddedConditions()) {
      json.put("addition_embed_type", "text_time");
      json.put("addition_time_embed_dim", additionTimeEmbedDim);
      json.put("projection_class_embeddings_input_dim", projectionClassEmbeddingsInputDim);
    }
    if (takesTimestepCond()) {
      json.put("time_cond_proj_dim", timeCondProjDim);
    }
    return json;
  }
}
