package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;

/**
 * The shape of a {@link ControlNetModel}, by diffusers' keys in camel case. Immutable.
 *
 * @param unet shape of the half U-Net; its up blocks and out channels are not built
 * @param conditioningChannels of the condition, 3 for pictures
 * @param conditioningEmbeddingOutChannels widths of the layers that shrink the condition, by 2 each
 *     from the second on
 * @param bgr whether the condition's colours are wanted in the order blue, green, red
 */
public record ControlNetConfig(
    UNetConfig unet,
    int conditioningChannels,
    List<Integer> conditioningEmbeddingOutChannels,
    boolean bgr) {

  public ControlNetConfig {
    conditioningEmbeddingOutChannels = List.copyOf(conditioningEmbeddingOutChannels);
    if (conditioningEmbeddingOutChannels.isEmpty()) {
      throw new IllegalArgumentException(
          "conditioning_embedding_out_channels: got none, expected one a layer");
    }
  }

  /** Pixels of a side of the condition to one of the latents. */
  public int downsampling() {
    return 1 << (conditioningEmbeddingOutChannels.size() - 1);
  }

  /**
   * From diffusers' {@code config.json} of a ControlNet; extra keys are left alone.
   *
   * @throws IllegalArgumentException naming the key that asks for a part that is not built
   */
  public static ControlNetConfig of(JsonNode node) {
    ConfigJson json = new ConfigJson(node);
    json.only("_class_name", "ControlNetModel");
    json.only("global_pool_conditions", false);
    json.only("controlnet_conditioning_channel_order", "rgb", "bgr");
    return new ControlNetConfig(
        UNetConfig.of(unet(node)),
        json.integer("conditioning_channels", 3),
        json.integers("conditioning_embedding_out_channels", List.of(16, 32, 96, 256)),
        json.text("controlnet_conditioning_channel_order", "rgb").equals("bgr"));
  }

  /** The same keys as a U-Net's, whose up blocks mirror the down blocks. */
  private static ObjectNode unet(JsonNode node) {
    ObjectNode unet = node.deepCopy();
    unet.put("_class_name", "UNet2DConditionModel");
    if (node.path("down_block_types").isArray()) {
      ArrayNode up = unet.putArray("up_block_types");
      node.get("down_block_types")
          .forEach(type -> up.insert(0, type.asText().replace("Down", "Up")));
    }
    return unet;
  }
}
