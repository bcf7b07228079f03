package org.perflow.serve.http;

import com.fasterxml.jackson.databind.JsonNode;
import java.awt.Color;
import java.awt.image.BufferedImage;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Guidance;
import org.perflow.io.picture.PictureFormat;
import org.perflow.models.SchedulerConfig;
import org.perflow.pipeline.Request;
import org.perflow.serve.JobRequest;

/** What clients of AUTOMATIC1111's web UI ask for. */
final class A1111Request {
  /** Its names of samplers, and ours. */
  static final Map<String, String> SAMPLERS = new LinkedHashMap<>();

  static {
    SAMPLERS.put("Euler", "euler");
    SAMPLERS.put("Euler a", "euler-a");
    SAMPLERS.put("Euler Karras", "euler-karras");
    SAMPLERS.put("Heun", "heun");
    SAMPLERS.put("DPM++ 2M", "dpmpp-2m");
    SAMPLERS.put("DPM++ 2M Karras", "dpmpp-2m-karras");
    SAMPLERS.put("DPM++ 2M SDE", "dpmpp-2m-sde");
    SAMPLERS.put("DPM++ 2M SDE Karras", "dpmpp-2m-sde-karras");
    SAMPLERS.put("DPM++ 2S", "dpmpp-2s");
    SAMPLERS.put("DPM++ 3M", "dpmpp-3m");
    SAMPLERS.put("DPM2", "dpm-2m");
    SAMPLERS.put("DDIM", "ddim");
    SAMPLERS.put("DDPM", "ddpm");
    SAMPLERS.put("PLMS", "pndm");
    SAMPLERS.put("UniPC", "unipc");
    SAMPLERS.put("DEIS", "deis");
    SAMPLERS.put("LCM", "lcm");
    SAMPLERS.put("TCD", "tcd");
    SAMPLERS.put("PeRFlow", "perflow");
  }

  private static final List<String> OWN = List.of("Automatic", "Default", "Use same sampler");
  private static final Pattern LORA =
      Pattern.compile("<lora:([^:<>]{1,200})(?::(-?[0-9.]{1,9}))?(?::[^<>]*)?>");

  private A1111Request() {}

  /** What {@code fields} ask {@code model} for. */
  static JobRequest read(Fields fields, String model, boolean fromImage) {
    refuseWhatChangesThePicture(fields);
    Map<String, Double> loras = new LinkedHashMap<>();
    String prompt = withoutLoras(Objects.requireNonNullElse(fields.text("prompt"), ""), loras);
    Double guidance = fields.number("cfg_scale");
    Integer steps = fields.whole("steps");
    Request request =
        fields
            .request(prompt, steps == null || steps == -1 ? null : steps)
            .withGuidance(guidance == null ? Guidance.OWN : Guidance.of(guidance))
            .withLongPrompts(true); // of any length, with weights in brackets
    if (fromImage) {
      request = from(fields, request);
    }
    int count = Math.multiplyExact(fields.whole("batch_size", 1), fields.whole("n_iter", 1));
    return new JobRequest(
        model, request, count, sampler(fields), loras, List.of(), PictureFormat.PNG, 100);
  }

  /** The model that it names; null where it names none. */
  static @Nullable String model(Fields fields) {
    Fields overrides = fields.object("override_settings");
    return overrides == null ? null : overrides.words("sd_model_checkpoint");
  }

  private static void refuseWhatChangesThePicture(Fields fields) {
    if (fields.flag("enable_hr") || fields.words("script_name") != null) {
      throw Problem.bad(
          "enable_hr", "neither the high-resolution fix nor scripts are there; leave them out");
    }
    Fields scripts = fields.object("alwayson_scripts");
    if (scripts != null && !scripts.values().isEmpty()) {
      throw Problem.bad("alwayson_scripts", "extensions are not there; leave them out");
    }
  }

  private static Request from(Fields fields, Request request) {
    List<JsonNode> images = fields.list("init_images");
    if (images.size() != 1 || !images.get(0).isTextual()) {
      throw Problem.bad("init_images", "init_images must hold one picture in base64");
    }
    BufferedImage image = fields.picture("init_images", images.get(0).textValue(), Color.WHITE);
    BufferedImage mask = fields.picture("mask", Color.BLACK);
    if (mask != null && Objects.equals(fields.whole("inpainting_mask_invert"), 1)) {
      for (int y = 0; y < mask.getHeight(); y++) {
        for (int x = 0; x < mask.getWidth(); x++) {
          mask.setRGB(x, y, ~mask.getRGB(x, y));
        }
      }
    }
    double strength = fields.number("denoising_strength", 0.75);
    return Jobs.from(request, image, mask, strength);
  }

  /** Prompts name LoRAs as {@code <lora:name:weight>}. */
  private static String withoutLoras(String prompt, Map<String, Double> loras) {
    Matcher found = LORA.matcher(prompt);
    StringBuilder rest = new StringBuilder();
    while (found.find()) {
      try {
        String weight = found.group(2);
        loras.merge(found.group(1), weight == null ? 1 : Double.parseDouble(weight), Double::sum);
      } catch (NumberFormatException e) {
        throw Problem.bad("prompt", "the weight of " + found.group() + " is no number");
      }
      found.appendReplacement(rest, "");
    }
    return found.appendTail(rest).toString().strip();
  }

  private static @Nullable String sampler(Fields fields) {
    String name = fields.words("sampler_name");
    name = name == null ? fields.words("sampler_index") : name;
    if (name == null || OWN.contains(name)) {
      return null;
    }
    String known = name;
    String ours =
        SAMPLERS.entrySet().stream()
            .filter(each -> each.getKey().equalsIgnoreCase(known))
            .map(Map.Entry::getValue)
            .findFirst()
            .orElse(SchedulerConfig.NAMES.contains(known) ? known : null);
    if (ours == null) {
      throw new Problem(404, "Sampler not found", "sampler_name");
    }
    String levels = fields.words("scheduler");
    boolean karras = levels != null && levels.equalsIgnoreCase("karras");
    return karras && SchedulerConfig.NAMES.contains(ours + "-karras") ? ours + "-karras" : ours;
  }
}
