package org.perflow.serve.http;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import io.javalin.config.RoutesConfig;
import io.javalin.http.Context;
import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Guidance;
import org.perflow.io.Json;
import org.perflow.io.picture.PictureFormat;
import org.perflow.io.picture.PngText;
import org.perflow.models.SchedulerConfig;
import org.perflow.pipeline.Request;
import org.perflow.serve.DrawnPicture;
import org.perflow.serve.Engine;
import org.perflow.serve.Job;
import org.perflow.serve.JobRequest;

/**
 * The API of AUTOMATIC1111's web UI, {@code /sdapi/v1}. What that keeps for the whole server, the
 * chosen model and what is interrupted, is kept for each client here. Fields that mean nothing here
 * are passed over, as its clients send all they know; what would change the picture is refused.
 */
final class A1111 implements Dialect {
  private static final int CLIENTS = 1000;
  private static final String ROOT = "/sdapi/v1";

  /** Its names of samplers, and ours. */
  private static final Map<String, String> SAMPLERS = new LinkedHashMap<>();

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

  private final Engine engine;
  private final Body body;
  private final Map<String, Job> current = new ConcurrentHashMap<>(); // of each client
  private final Map<String, String> chosen =
      Collections.synchronizedMap(
          new LinkedHashMap<>() {
            private static final long serialVersionUID = 1;

            @Override
            protected boolean removeEldestEntry(Map.Entry<String, String> eldest) {
              return size() > CLIENTS;
            }
          });

  A1111(Engine engine, Body body) {
    this.engine = engine;
    this.body = body;
  }

  @Override
  public void addTo(RoutesConfig routes) {
    routes.post(ROOT + "/txt2img", ctx -> draw(ctx, false));
    routes.post(ROOT + "/img2img", ctx -> draw(ctx, true));
    routes.get(ROOT + "/progress", ctx -> ctx.json(progress(ctx)));
    routes.post(ROOT + "/interrupt", this::interrupt);
    routes.post(ROOT + "/skip", this::interrupt);
    routes.get(ROOT + "/options", ctx -> ctx.json(options(ctx)));
    routes.post(ROOT + "/options", this::choose);
    routes.get(ROOT + "/samplers", ctx -> ctx.json(samplers()));
    routes.get(ROOT + "/schedulers", ctx -> ctx.json(schedulers()));
    routes.get(ROOT + "/sd-models", ctx -> ctx.json(models()));
    routes.get(ROOT + "/loras", ctx -> ctx.json(loras()));
    routes.post(ROOT + "/png-info", this::pngInfo);
  }

  @Override
  public boolean speaks(String path) {
    return path.startsWith(ROOT);
  }

  @Override
  public Object error(Problem problem) {
    Map<String, Object> error = new LinkedHashMap<>();
    error.put("error", problem.code());
    error.put("detail", problem.getMessage());
    error.put("body", "");
    error.put("errors", problem.getMessage());
    return error;
  }

  // ---------------------------------------------------------------- drawing

  private void draw(Context ctx, boolean fromImage) throws IOException {
    byte[] json = body.bytes(ctx);
    Fields fields = body.fields(json);
    String client = Access.clientOf(ctx);
    JobRequest asked = request(fields, client, fromImage);
    Job job = engine.submit(asked, Access.caller(ctx, json, true));
    current.put(client, job);
    job.watch();
    try {
      Job.Snapshot end = Waiting.forEnd(ctx, job, now -> {});
      if (end.error() != null && end.state() != Job.State.CANCELLED) {
        throw Problem.of(end.error());
      }
      ctx.json(answer(fields, job, end));
    } finally {
      job.unwatch();
      current.remove(client, job);
    }
  }

  private JobRequest request(Fields fields, String client, boolean fromImage) {
    refuseWhatChangesThePicture(fields);
    Map<String, Double> loras = new LinkedHashMap<>();
    String prompt = withoutLoras(Objects.requireNonNullElse(fields.text("prompt"), ""), loras);
    Double guidance = fields.number("cfg_scale");
    Request request =
        Request.of(prompt)
            .withNegativePrompt(fields.words("negative_prompt"))
            .withGuidance(guidance == null ? Guidance.OWN : Guidance.of(guidance))
            .withSeed(fields.seed())
            .withLongPrompts(true) // of any length, with weights in brackets
            .withSize(
                Objects.requireNonNullElse(fields.whole("width"), 0),
                Objects.requireNonNullElse(fields.whole("height"), 0));
    Integer steps = fields.whole("steps");
    request = steps == null || steps == -1 ? request : request.withSteps(steps);
    if (fromImage) {
      request = from(fields, request);
    }
    Fields overrides = fields.object("override_settings");
    String model = overrides == null ? null : overrides.words("sd_model_checkpoint");
    int count =
        Math.multiplyExact(
            Objects.requireNonNullElse(fields.whole("batch_size"), 1),
            Objects.requireNonNullElse(fields.whole("n_iter"), 1));
    return new JobRequest(
        modelFor(model == null ? chosen.get(client) : model),
        request,
        count,
        sampler(fields),
        loras,
        List.of(),
        PictureFormat.PNG,
        100);
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
    double strength = Objects.requireNonNullElse(fields.number("denoising_strength"), 0.75);
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

  private String modelFor(@Nullable String name) {
    if (name == null) {
      return engine.options().defaultModel();
    }
    String bare =
        name.replaceFirst(" \\[[0-9a-f]+]$", "").replaceFirst("\\.(safetensors|ckpt)$", "");
    return engine.options().models().keySet().stream()
        .filter(each -> each.equals(name) || each.equals(bare))
        .findFirst()
        .orElseThrow(() -> new Problem(404, "Checkpoint not found", "sd_model_checkpoint"));
  }

  private Map<String, Object> answer(Fields fields, Job job, Job.Snapshot end)
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
    info.put("infotexts", pictures.stream().map(A1111::infotext).toList());
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
  private static String infotext(Map<String, String> settings) {
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

  // ---------------------------------------------------------------- while it draws

  private Map<String, Object> progress(Context ctx) {
    Optional<Job> job = Optional.ofNullable(current.get(Access.clientOf(ctx)));
    Job.Snapshot now = job.map(Job::now).orElse(null);
    double part = now == null ? 0 : now.progress();
    double seconds =
        job.map(Job::begun)
            .map(begun -> Duration.between(begun, Instant.now()).toMillis() / 1e3)
            .orElse(0.0);
    Map<String, Object> state = new LinkedHashMap<>();
    state.put("skipped", false);
    state.put("interrupted", now != null && now.state() == Job.State.CANCELLED);
    state.put("job", job.map(Job::id).orElse(""));
    state.put("job_count", job.map(each -> each.request().count()).orElse(0));
    state.put("job_no", now == null ? 0 : now.pictures().size());
    state.put("sampling_step", now == null ? 0 : now.step());
    state.put("sampling_steps", now == null ? 0 : now.steps());
    Map<String, Object> progress = new LinkedHashMap<>();
    progress.put("progress", part);
    progress.put("eta_relative", part == 0 ? 0 : seconds * (1 - part) / part);
    progress.put("state", state);
    boolean skip = "true".equals(ctx.queryParam("skip_current_image"));
    progress.put(
        "current_image",
        skip || now == null || now.preview() == null ? null : Jobs.base64(now.preview()));
    progress.put("textinfo", null);
    return progress;
  }

  /** Ends what this client has drawn, and nobody else's. */
  private void interrupt(Context ctx) {
    Job job = current.get(Access.clientOf(ctx));
    if (job != null) {
      engine.cancel(job, "its client interrupted it");
    }
    ctx.json(Map.of());
  }

  // ---------------------------------------------------------------- what there is

  private Map<String, Object> options(Context ctx) {
    String model = chosen.get(Access.clientOf(ctx));
    Map<String, Object> options = new LinkedHashMap<>();
    options.put("sd_model_checkpoint", model == null ? engine.options().defaultModel() : model);
    options.put("samples_format", "png");
    options.put("CLIP_stop_at_last_layers", 1);
    return options;
  }

  /** The model is this client's alone; other options are not kept. */
  private void choose(Context ctx) {
    Fields fields = body.fields(ctx);
    String model = fields.words("sd_model_checkpoint");
    if (model != null) {
      chosen.put(Access.clientOf(ctx), modelFor(model));
    }
    ctx.json(Map.of());
  }

  private static List<Map<String, Object>> samplers() {
    List<Map<String, Object>> samplers = new ArrayList<>();
    SAMPLERS.forEach(
        (name, ours) ->
            samplers.add(Map.of("name", name, "aliases", List.of(ours), "options", Map.of())));
    return samplers;
  }

  private static List<Map<String, Object>> schedulers() {
    return List.of(
        Map.of("name", "automatic", "label", "Automatic", "aliases", List.of()),
        Map.of("name", "karras", "label", "Karras", "aliases", List.of()));
  }

  private List<Map<String, Object>> models() {
    List<Map<String, Object>> models = new ArrayList<>();
    for (String name : engine.options().models().keySet()) {
      Map<String, Object> model = new LinkedHashMap<>();
      model.put("title", name);
      model.put("model_name", name);
      model.put("hash", null);
      model.put("sha256", null);
      model.put("filename", name);
      model.put("config", null);
      models.add(model);
    }
    return models;
  }

  private List<Map<String, Object>> loras() {
    List<Map<String, Object>> loras = new ArrayList<>();
    for (String name : engine.options().loras().keySet()) {
      loras.add(Map.of("name", name, "alias", name, "path", name, "metadata", Map.of()));
    }
    return loras;
  }

  private void pngInfo(Context ctx) {
    Fields fields = body.fields(ctx);
    String image = fields.words("image");
    if (image == null) {
      throw Problem.bad("image", "there is no image; send a PNG in base64");
    }
    try {
      Map<String, String> text = PngText.read(Fields.bytes("image", image));
      String info = text.containsKey("parameters") ? text.get("parameters") : infotext(text);
      ctx.json(Map.of("info", text.isEmpty() ? "" : info, "items", text));
    } catch (IOException e) {
      throw Problem.bad("image", "image is no readable PNG: " + e.getMessage());
    }
  }
}
