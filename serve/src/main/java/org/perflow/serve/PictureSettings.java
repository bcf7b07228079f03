package org.perflow.serve;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;

/** How a picture was drawn, in the words of {@code perflow generate}. */
final class PictureSettings {
  private PictureSettings() {}

  /** Those of {@code asked}, a picture of {@code job}, drawn by {@code pipe}. */
  static Map<String, String> of(Pipeline pipe, Request asked, JobRequest job) {
    Request request = pipe.complete(asked);
    Map<String, String> settings = new LinkedHashMap<>();
    settings.put("prompt", request.prompt());
    if (request.negativePrompt() != null) {
      settings.put("negative_prompt", request.negativePrompt());
    }
    settings.put("seed", Long.toString(request.seed()));
    settings.put("steps", Integer.toString(request.steps()));
    settings.put("guidance", request.guidance().toString());
    settings.put("scheduler", pipe.model().schedulerConfig().path("_class_name").asText());
    if (request.guidanceRescale() > 0) {
      settings.put("guidance_rescale", Double.toString(request.guidanceRescale()));
    }
    if (request.image() != null) {
      settings.put("strength", Double.toString(request.strength()));
    }
    if (request.mask() != null) {
      settings.put("mask", "true");
    }
    if (!job.controls().isEmpty()) {
      settings.put("controlnet", words(job.controls()));
    }
    if (request.longPrompts()) {
      settings.put("long_prompts", "true");
    }
    if (request.vaeTiling()) {
      settings.put("vae_tiling", "true");
    }
    if (request.clipSkip() > 0) {
      settings.put("clip_skip", Integer.toString(request.clipSkip()));
    }
    if (!job.loras().isEmpty()) {
      settings.put(
          "lora",
          job.loras().entrySet().stream()
              .map(lora -> lora.getKey() + ":" + lora.getValue())
              .sorted()
              .collect(Collectors.joining(" ")));
    }
    settings.put("model", job.model());
    settings.put("software", "perflow");
    return settings;
  }

  private static String words(List<JobRequest.ControlUse> controls) {
    return controls.stream()
        .map(
            use ->
                "%s (scale %s, %s to %s)".formatted(use.net(), use.scale(), use.start(), use.end()))
        .collect(Collectors.joining("; "));
  }
}
