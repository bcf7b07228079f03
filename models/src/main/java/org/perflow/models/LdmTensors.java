package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.perflow.io.LazyTensor;

/**
 * The weights of one network between a single-file checkpoint, without the prefix that they have
 * there, and a diffusers folder. Nothing is computed: elements move, in both directions exactly.
 */
enum LdmTensors {
  /** U-Net: other names only. */
  UNET {
    @Override
    Map<String, LazyTensor> toFolder(Map<String, LazyTensor> ldm, JsonNode config) {
      LdmNames names = LdmNames.unet(config);
      Map<String, LazyTensor> folder = new LinkedHashMap<>();
      ldm.forEach((name, tensor) -> folder.put(names.folder(name), tensor));
      return folder;
    }

    @Override
    Map<String, LazyTensor> toSingleFile(Map<String, LazyTensor> folder, JsonNode config) {
      LdmNames names = LdmNames.unet(config);
      Map<String, LazyTensor> ldm = new LinkedHashMap<>();
      folder.forEach((name, tensor) -> ldm.put(names.singleFile(name), tensor));
      return ldm;
    }
  },

  /** Autoencoder: LDM's attention is made of 1x1 convolutions, diffusers' of matrices. */
  VAE {
    @Override
    Map<String, LazyTensor> toFolder(Map<String, LazyTensor> ldm, JsonNode config) {
      LdmNames names = LdmNames.vae(config);
      Map<String, LazyTensor> folder = new LinkedHashMap<>();
      ldm.forEach(
          (name, tensor) -> {
            if (!TRAINING.matcher(name).lookingAt()) {
              String translated = names.folder(name);
              folder.put(translated, OldNames.matrix(translated, tensor));
            }
          });
      return folder;
    }

    @Override
    Map<String, LazyTensor> toSingleFile(Map<String, LazyTensor> folder, JsonNode config) {
      LdmNames names = LdmNames.vae(config);
      Map<String, LazyTensor> ldm = new LinkedHashMap<>();
      folder.forEach(
          (name, tensor) -> {
            long[] shape = tensor.shape();
            boolean matrix = name.contains(".attentions.") && shape.length == 2;
            ldm.put(
                names.singleFile(name), matrix ? tensor.reshape(shape[0], shape[1], 1, 1) : tensor);
          });
      return ldm;
    }
  },

  /** OpenAI's CLIP: transformers' own names. */
  CLIP {
    @Override
    Map<String, LazyTensor> toFolder(Map<String, LazyTensor> ldm, JsonNode config) {
      Map<String, LazyTensor> folder = new LinkedHashMap<>();
      ldm.forEach(
          (name, tensor) -> {
            String whole = OldNames.withTextModel(name);
            if (whole.startsWith(OldNames.TEXT_MODEL)) { // drops projections and logit_scale
              folder.put(whole, tensor);
            }
          });
      return folder;
    }

    @Override
    Map<String, LazyTensor> toSingleFile(Map<String, LazyTensor> folder, JsonNode config) {
      Map<String, LazyTensor> ldm = new LinkedHashMap<>();
      folder.forEach((name, tensor) -> ldm.put(OldNames.withTextModel(name), tensor));
      return ldm;
    }
  },

  /** OpenCLIP: queries, keys and values of a layer in one matrix, the projection transposed. */
  OPEN_CLIP {
    @Override
    Map<String, LazyTensor> toFolder(Map<String, LazyTensor> ldm, JsonNode config) {
      int layers = new ConfigJson(config).integer("num_hidden_layers", 12);
      LdmNames names = LdmNames.openClip(layers);
      Map<String, LazyTensor> folder = new LinkedHashMap<>();
      ldm.forEach(
          (name, tensor) -> {
            var fused = FUSED.matcher(name);
            if (name.equals(POSITIONS)) {
              folder.put(FOLDER_POSITIONS, tensor);
            } else if (name.equals(PROJECTION)) {
              if (projects(config)) {
                folder.put(FOLDER_PROJECTION, tensor.transposed());
              }
            } else if (fused.matches()) {
              int layer = Integer.parseInt(fused.group(1));
              for (int i = 0; layer < layers && i < 3; i++) {
                folder.put(input(layer, i, fused.group(2)), tensor.part(i, 3));
              }
            } else if (!names.folder(name).equals(name)) { // SD-2.x leaves out the last layer
              folder.put(names.folder(name), tensor);
            }
          });
      return folder;
    }

    @Override
    Map<String, LazyTensor> toSingleFile(Map<String, LazyTensor> folder, JsonNode config) {
      int layers = new ConfigJson(config).integer("num_hidden_layers", 12);
      LdmNames names = LdmNames.openClip(layers);
      Map<String, LazyTensor> rest = new LinkedHashMap<>();
      folder.forEach((name, tensor) -> rest.put(OldNames.withTextModel(name), tensor));
      Map<String, LazyTensor> ldm = new LinkedHashMap<>();
      for (int layer = 0; layer < layers; layer++) {
        for (String kind : List.of("weight", "bias")) {
          List<LazyTensor> parts = new ArrayList<>();
          for (int i = 0; i < 3; i++) {
            LazyTensor part = rest.remove(input(layer, i, kind));
            if (part == null) {
              throw new IllegalArgumentException("it lacks " + input(layer, i, kind));
            }
            parts.add(part);
          }
          ldm.put(
              "transformer.resblocks." + layer + ".attn.in_proj_" + kind, LazyTensor.joined(parts));
        }
      }
      rest.forEach(
          (name, tensor) -> {
            switch (name) {
              case FOLDER_POSITIONS -> ldm.put(POSITIONS, tensor);
              case FOLDER_PROJECTION -> ldm.put(PROJECTION, tensor.transposed());
              default -> ldm.put(names.singleFile(name), tensor);
            }
          });
      return ldm;
    }
  };

  private static final Pattern TRAINING = Pattern.compile("(loss|model_ema)\\.");
  private static final Pattern FUSED =
      Pattern.compile("transformer\\.resblocks\\.(\\d+)\\.attn\\.in_proj_(weight|bias)");
  private static final String POSITIONS = "positional_embedding";
  private static final String FOLDER_POSITIONS = "text_model.embeddings.position_embedding.weight";
  private static final String PROJECTION = "text_projection";
  private static final String FOLDER_PROJECTION = "text_projection.weight";

  /** Weights of a single file as the folder names and shapes them. */
  abstract Map<String, LazyTensor> toFolder(Map<String, LazyTensor> ldm, JsonNode config);

  /** Weights of a folder as a single file names and shapes them. */
  abstract Map<String, LazyTensor> toSingleFile(Map<String, LazyTensor> folder, JsonNode config);

  /** Name of the {@code index}-th of query, key and value. */
  private static String input(int layer, int index, String kind) {
    return "text_model.encoder.layers.%d.self_attn.%c_proj.%s"
        .formatted(layer, "qkv".charAt(index), kind);
  }

  private static boolean projects(JsonNode config) {
    return config.path("architectures").path(0).asText().endsWith("WithProjection");
  }
}
