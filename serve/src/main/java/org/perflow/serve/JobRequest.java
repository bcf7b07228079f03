package org.perflow.serve;

import java.awt.image.BufferedImage;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.io.picture.PictureFormat;
import org.perflow.models.SchedulerConfig;
import org.perflow.pipeline.Request;
import org.perflow.serve.RefusedException.Reason;

/**
 * What a job is to draw. Immutable.
 *
 * @param model name of one of the engine's models
 * @param request of the first picture; the next ones' seeds are each one more. Without ControlNets:
 *     they are named in {@code controls}
 * @param count pictures
 * @param scheduler name of a sampler; null for the model's own
 * @param loras name to weight
 * @param controls ControlNets that take part
 * @param format of the files
 * @param quality of JPEG and WebP, 1 to 100
 */
public record JobRequest(
    String model,
    Request request,
    int count,
    @Nullable String scheduler,
    Map<String, Double> loras,
    List<ControlUse> controls,
    PictureFormat format,
    int quality) {

  /** A ControlNet by name, and what it follows. */
  public record ControlUse(
      String net, BufferedImage picture, double scale, double start, double end) {}

  public JobRequest {
    loras = Map.copyOf(loras);
    controls = List.copyOf(controls);
    if (count < 1) {
      throw new IllegalArgumentException("count is " + count + "; want 1 or more");
    }
    if (!List.of(PictureFormat.PNG, PictureFormat.JPEG, PictureFormat.WEBP).contains(format)) {
      throw new IllegalArgumentException("format is " + format + "; want PNG, JPEG or WEBP");
    }
    if (quality < 1 || quality > 100) {
      throw new IllegalArgumentException("quality is " + quality + "; want 1 to 100");
    }
  }

  /** One PNG by a model's own settings. */
  public static JobRequest of(String model, Request request) {
    return new JobRequest(model, request, 1, null, Map.of(), List.of(), PictureFormat.PNG, 90);
  }

  /** The request of picture {@code index}. */
  Request picture(int index) {
    return request.withSeed(request.seed() + index);
  }

  /**
   * What pictures drawn in one batch have in common: all but prompts and seeds. Two requests from
   * two pictures never have, even if the pictures are alike.
   */
  Object kind() {
    Request alike = request.withPrompt("").withNegativePrompt(null).withSeed(0);
    return new JobRequest(model, alike, 1, scheduler, loras, controls, PictureFormat.PNG, 90);
  }

  /**
   * Looks for what can be told without the model.
   *
   * @throws RefusedException where it asks for more than {@code options} allow, or for what is not
   *     there
   */
  void check(EngineOptions options) {
    EngineOptions.Limits limits = options.limits();
    require(count, limits.count(), "pictures");
    require(request.steps() == null ? 1 : request.steps(), limits.steps(), "steps");
    require(request.prompt().length(), limits.promptLength(), "characters of prompt");
    if (request.negativePrompt() != null) {
      require(
          request.negativePrompt().length(),
          limits.promptLength(),
          "characters of negative prompt");
    }
    require(
        (long) Math.max(1, request.width()) * Math.max(1, request.height()),
        limits.pixels(),
        "pixels");
    ModelStore.find(options.models(), "model", model);
    loras.keySet().forEach(name -> ModelStore.find(options.loras(), "LoRA", name));
    controls.forEach(use -> ModelStore.find(options.controlNets(), "ControlNet", use.net()));
    if (scheduler != null && !SchedulerConfig.NAMES.contains(scheduler)) {
      throw ModelStore.unknown("sampler", scheduler, SchedulerConfig.NAMES);
    }
  }

  /** Refuses more than is allowed. */
  static void require(long asked, long most, String what) {
    if (asked > most) {
      throw new RefusedException(
          Reason.BAD_REQUEST,
          "%,d %s are more than the %,d that one request may ask for".formatted(asked, what, most));
    }
  }
}
