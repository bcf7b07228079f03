package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.NamedTensors;
import org.perflow.io.WeightsKind.Family;

/**
 * The JSON and text files beside the weights in a diffusers folder, by path: those of each family's
 * published model, adapted to what a single file says of itself.
 */
final class FamilyConfigs {
  /** Metadata of single files that were made from a folder: its JSON and text files, by path. */
  static final String METADATA = "perflow.files";

  private static final String SCHEDULER = "scheduler/scheduler_config.json";
  private static final String UNET = "unet/config.json";

  private FamilyConfigs() {}

  /** The files of the folder that {@code file} stands for. */
  static Map<String, String> of(NamedTensors file, Family family) throws IOException {
    String own = file.metadata().get(METADATA);
    if (own != null) {
      return texts(parse(file + ": metadata " + METADATA, own));
    }
    JsonNode published = published(family);
    adaptUnet(file, (ObjectNode) published.path(UNET));
    adaptScheduler(file, (ObjectNode) published.path(SCHEDULER), family);
    return texts(published);
  }

  /** The JSON files of the family's published model, by path. */
  static JsonNode published(Family family) throws IOException {
    String resource = family.name().toLowerCase(Locale.ROOT) + ".json";
    try (InputStream in = FamilyConfigs.class.getResourceAsStream(resource)) {
      if (in == null) {
        throw new IllegalArgumentException(family + " is not built; supported: SD1, SD2, SDXL");
      }
      return Json.MAPPER.readTree(in);
    }
  }

  private static void adaptUnet(NamedTensors file, ObjectNode unet) {
    NamedTensors.Entry first = file.entries().get("model.diffusion_model.input_blocks.0.0.weight");
    if (first != null && first.shape().length == 4) {
      unet.put("in_channels", first.shape()[1]); // 9 for inpainting
    }
  }

  private static void adaptScheduler(NamedTensors file, ObjectNode scheduler, Family family)
      throws FormatException {
    String said = file.metadata().getOrDefault("modelspec.prediction_type", "");
    if (file.entries().containsKey("v_pred") || said.startsWith("v")) {
      scheduler.put("prediction_type", "v_prediction");
    } else if (said.startsWith("eps")) {
      scheduler.put("prediction_type", "epsilon");
    } else if (!said.isEmpty()) {
      throw new FormatException(
          file
              + ": its network predicts '"
              + said
              + "', which is not built; supported: epsilon, v");
    } else if (family == Family.SD1) {
      scheduler.put("prediction_type", "epsilon"); // written out, as others must be
    }
    if (file.entries().containsKey("ztsnr")) {
      scheduler.put("rescale_betas_zero_snr", true);
    }
  }

  /** Strings as they are, objects as JSON. */
  private static Map<String, String> texts(JsonNode files) throws IOException {
    Map<String, String> texts = new LinkedHashMap<>();
    for (var property : files.properties()) {
      JsonNode value = property.getValue();
      texts.put(
          property.getKey(),
          value.isTextual() ? value.asText() : Json.MAPPER.writeValueAsString(value) + "\n");
    }
    return texts;
  }

  /** A JSON object, or a message that names {@code source}. */
  static ObjectNode parse(String source, @Nullable String text) throws FormatException {
    if (text == null) {
      throw new FormatException(source + " is missing");
    }
    return Json.object(source, text);
  }

  /** The files right in {@code folder}, by name. */
  static Map<String, String> under(Map<String, String> files, String folder) {
    Map<String, String> found = new LinkedHashMap<>();
    files.forEach(
        (path, text) -> {
          if (path.startsWith(folder + "/")) {
            found.put(path.substring(folder.length() + 1), text);
          }
        });
    return found;
  }
}
