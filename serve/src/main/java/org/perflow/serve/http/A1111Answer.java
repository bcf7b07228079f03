package org.perflow.serve.http;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.perflow.io.Json;
import org.perflow.pipeline.Request;
import org.perflow.serve.DrawnPicture;
import org.perflow.serve.Job;

/** What clients of AUTOMATIC1111's web UI are answered. */
final class A1111Answer {
  private A1111Answer() {}

  /** The pictures of {@code job}, which {@code fields} asked for. */
  static Map<String, Object> of(Fields fields, Job job, Job.Snapshot end)
      throws JsonProcessingException {
    List<DrawnPicture> pictures = end.pictures();
    Map<String, Object> parameters = new LinkedHashMap<>();
    fields
        .values()
        .properties()
        .forEach(
            field -> {
              boolean large = List.of("init_images", "mask").contains(field.getKey());
              parameters.put(field.getKey(), large ? null : field.getValue());
            });
    Map<String, Object> info = new LinkedHashMap<>();
    Request request = job.request().request();
    info.put("prompt", request.prompt());
    info.put("all_prompts", pictures.stream().map(picture -> request.prompt()).toList());
    info.put("negative_prompt", Objects.requireNonNullElse(request.negativePrompt(), ""));
    info.put("seed", request.seed());
    info.put("all_seeds", pictures.stream().map(DrawnPicture::seed).toList());
    info.put("width", pictures.isEmpty() ? request.width() : pictures.get(0).width());
    info.put("height", pictures.isEmpty() ? request.height() : pictures.get(0).height());
    info.put("steps", end.steps());
    info.put("sd_model_name", job.request().model());
    info.put("infotexts", pictures.stream().map(A1111Answer::infotext).toList());
    info.put("interrupted", end.state() == Job.State.CANCELLED);
    info.put("notes", end.notes());
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("images", pictures.stream().map(Waiting::base64).toList());
    answer.put("parameters", parameters);
    answer.put("info", Json.MAPPER.writeValueAsString(info)); // a text there
    return answer;
  }

  private static String infotext(DrawnPicture picture) {
    Map<String, String> settings = picture.settings();
    settings.put("size", picture.width() + "x" + picture.height());
    return infotext(settings);
  }

  /** Settings as A1111 writes them under its pictures. */
  static String infotext(Map<String, String> settings) {
    Map<String, String> rest = new LinkedHashMap<>(settings);
    String prompt = Objects.requireNonNullElse(rest.remove("prompt"), "");
    String negative = rest.remove("negative_prompt");
    String line =
        rest.entrySet().stream()
            .map(
                each ->
                    each.getKey().substring(0, 1).toUpperCase(Locale.ROOT)
                        + each.getKey().substring(1)
                        + ": "
                        + each.getValue())
            .collect(Collectors.joining(", "))
            .replace("Guidance:", "CFG scale:")
            .replace("Scheduler:", "Sampler:");
    return prompt + (negative == null ? "" : "\nNegative prompt: " + negative) + "\n" + line;
  }
}
