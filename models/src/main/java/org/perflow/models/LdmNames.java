package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The names that the modules of Stable Diffusion had in the original code (LDM,
 * https://github.com/CompVis/stable-diffusion) and those that diffusers gave them. LDM numbers the
 * blocks of its U-Net through, so its names depend on the levels and layers of the configuration.
 */
final class LdmNames {
  private final Map<String, String> toFolder = new LinkedHashMap<>();
  private final Map<String, String> toSingleFile = new LinkedHashMap<>();

  private LdmNames() {}

  private void put(String ldm, String folder) {
    toFolder.put(ldm, folder);
    toSingleFile.put(folder, ldm);
  }

  /** Diffusers' name of a weight; the same where LDM's module is unknown. */
  String folder(String ldm) {
    return translate(toFolder, ldm);
  }

  /** LDM's name of a weight; the same where diffusers' module is unknown. */
  String singleFile(String folder) {
    return translate(toSingleFile, folder);
  }

  /** By the longest known module that the weight is in. */
  private static String translate(Map<String, String> modules, String name) {
    for (int end = name.lastIndexOf('.'); end > 0; end = name.lastIndexOf('.', end - 1)) {
      String module = modules.get(name.substring(0, end));
      if (module != null) {
        return module + name.substring(end);
      }
    }
    return name;
  }

  /** Of a U-Net, by its {@code config.json}. */
  static LdmNames unet(JsonNode config) {
    LdmNames names = new LdmNames();
    names.put("time_embed.0", "time_embedding.linear_1");
    names.put("time_embed.2", "time_embedding.linear_2");
    names.put("label_emb.0.0", "add_embedding.linear_1"); // SDXL
    names.put("label_emb.0.2", "add_embedding.linear_2");
    names.put("input_blocks.0.0", "conv_in");
    names.put("out.0", "conv_norm_out");
    names.put("out.2", "conv_out");
    names.down(config);
    names.resnet("middle_block.0.", "mid_block.resnets.0.");
    names.put("middle_block.1", "mid_block.attentions.0");
    names.resnet("middle_block.2.", "mid_block.resnets.1.");
    names.up(config);
    return names;
  }

  private void down(JsonNode config) {
    int levels = levels(config);
    List<Integer> layers = new ConfigJson(config).perLevel("layers_per_block", levels, 2);
    int block = 1;
    for (int level = 0; level < levels; level++) {
      for (int i = 0; i < layers.get(level); i++, block++) {
        resnet("input_blocks." + block + ".0.", "down_blocks." + level + ".resnets." + i + ".");
        if (attends(config, "down_block_types", level)) {
          put("input_blocks." + block + ".1", "down_blocks." + level + ".attentions." + i);
        }
      }
      if (level < levels - 1) {
        put("input_blocks." + block + ".0.op", "down_blocks." + level + ".downsamplers.0.conv");
        block++;
      }
    }
  }

  private void up(JsonNode config) {
    int levels = levels(config);
    List<Integer> perLevel = new ConfigJson(config).perLevel("layers_per_block", levels, 2);
    int block = 0;
    for (int index = 0; index < levels; index++) {
      boolean attends = attends(config, "up_block_types", index);
      int layers = perLevel.get(levels - 1 - index) + 1;
      for (int i = 0; i < layers; i++, block++) {
        resnet("output_blocks." + block + ".0.", "up_blocks." + index + ".resnets." + i + ".");
        if (attends) {
          put("output_blocks." + block + ".1", "up_blocks." + index + ".attentions." + i);
        }
      }
      if (index < levels - 1) { // the upsampler comes last in the last block of a level
        put(
            "output_blocks." + (block - 1) + (attends ? ".2" : ".1") + ".conv",
            "up_blocks." + index + ".upsamplers.0.conv");
      }
    }
  }

  private static int levels(JsonNode config) {
    return new ConfigJson(config).integers("block_out_channels", List.of()).size();
  }

  private static boolean attends(JsonNode config, String key, int index) {
    return config.path(key).path(index).asText().startsWith("CrossAttn");
  }

  private void resnet(String ldm, String folder) {
    put(ldm + "in_layers.0", folder + "norm1");
    put(ldm + "in_layers.2", folder + "conv1");
    put(ldm + "emb_layers.1", folder + "time_emb_proj");
    put(ldm + "out_layers.0", folder + "norm2");
    put(ldm + "out_layers.3", folder + "conv2");
    put(ldm + "skip_connection", folder + "conv_shortcut");
  }

  /** Of an autoencoder, by its {@code config.json}; LDM numbers the way up from the finest. */
  static LdmNames vae(JsonNode config) {
    LdmNames names = new LdmNames();
    int levels = levels(config);
    int layers = new ConfigJson(config).integer("layers_per_block", 1);
    for (int level = 0; level < levels; level++) {
      String down = "encoder.down." + level + ".";
      String downBlocks = "encoder.down_blocks." + level + ".";
      names.vaeResnets(down, downBlocks, layers);
      names.put(down + "downsample.conv", downBlocks + "downsamplers.0.conv");
      String up = "decoder.up." + (levels - 1 - level) + ".";
      String upBlocks = "decoder.up_blocks." + level + ".";
      names.vaeResnets(up, upBlocks, layers + 1);
      names.put(up + "upsample.conv", upBlocks + "upsamplers.0.conv");
    }
    for (String half : List.of("encoder.", "decoder.")) {
      names.put(half + "norm_out", half + "conv_norm_out");
      names.put(half + "mid.block_1", half + "mid_block.resnets.0");
      names.put(half + "mid.block_2", half + "mid_block.resnets.1");
      String attention = half + "mid_block.attentions.0.";
      names.put(half + "mid.attn_1.norm", attention + "group_norm");
      names.put(half + "mid.attn_1.q", attention + "to_q");
      names.put(half + "mid.attn_1.k", attention + "to_k");
      names.put(half + "mid.attn_1.v", attention + "to_v");
      names.put(half + "mid.attn_1.proj_out", attention + "to_out.0");
    }
    return names;
  }

  private void vaeResnets(String ldm, String folder, int layers) {
    for (int i = 0; i < layers; i++) {
      put(ldm + "block." + i + ".nin_shortcut", folder + "resnets." + i + ".conv_shortcut");
      put(ldm + "block." + i, folder + "resnets." + i);
    }
  }

  /** Of one layer of OpenCLIP's text encoder, but for its fused attention inputs. */
  static LdmNames openClip(int layers) {
    LdmNames names = new LdmNames();
    names.put("token_embedding", "text_model.embeddings.token_embedding");
    names.put("ln_final", "text_model.final_layer_norm");
    for (int i = 0; i < layers; i++) {
      String ldm = "transformer.resblocks." + i + ".";
      String folder = "text_model.encoder.layers." + i + ".";
      names.put(ldm + "ln_1", folder + "layer_norm1");
      names.put(ldm + "ln_2", folder + "layer_norm2");
      names.put(ldm + "mlp.c_fc", folder + "mlp.fc1");
      names.put(ldm + "mlp.c_proj", folder + "mlp.fc2");
      names.put(ldm + "attn.out_proj", folder + "self_attn.out_proj");
    }
    return names;
  }
}
