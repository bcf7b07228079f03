package org.perflow.serve.http;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.javalin.config.RoutesConfig;
import io.javalin.http.Context;
import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.concurrent.Semaphore;
import org.jspecify.annotations.Nullable;
import org.perflow.io.picture.PictureEncoder;
import org.perflow.io.picture.PictureFormat;
import org.perflow.models.SchedulerConfig;
import org.perflow.pipeline.Request;
import org.perflow.serve.DrawnPicture;
import org.perflow.serve.Engine;
import org.perflow.serve.EngineOptions;
import org.perflow.serve.Job;
import org.perflow.serve.JobRequest;

/**
 * Our own dialect, and the page's: a job is submitted, watched, cancelled and its pictures fetched.
 * It knows all that {@code perflow generate} does, and refuses fields that it does not know.
 */
final class Jobs implements Dialect {
  private static final int WATCHERS = 64;
  private static final int CONTROLS = 4; // each may bring a picture of its own
  static final List<String> FIELDS =
      List.of(
          "model",
          "prompt",
          "negative_prompt",
          "steps",
          "guidance",
          "guidance_rescale",
          "seed",
          "width",
          "height",
          "count",
          "scheduler",
          "loras",
          "controls",
          "image",
          "strength",
          "mask",
          "clip_skip",
          "long_prompts",
          "vae_tiling",
          "format",
          "quality");

  private final Engine engine;
  private final Body body;
  private final Semaphore watchers = new Semaphore(WATCHERS);

  Jobs(Engine engine, Body body) {
    this.engine = engine;
    this.body = body;
  }

  @Override
  public void addTo(RoutesConfig routes) {
    routes.get("/api/models", ctx -> ctx.json(models()));
    routes.post("/api/jobs", this::submit);
    routes.get("/api/jobs/{id}", ctx -> ctx.json(status(find(ctx))));
    routes.delete("/api/jobs/{id}", this::cancel);
    routes.get("/api/jobs/{id}/events", this::events);
    routes.get("/api/jobs/{id}/pictures/{index}", this::picture);
    routes.get("/files/{id}/{index}", this::picture);
  }

  @Override
  public boolean speaks(String path) {
    return path.startsWith("/api/jobs") || path.equals("/api/models");
  }

  @Override
  public Object error(Problem problem) {
    Map<String, Object> error = new LinkedHashMap<>();
    error.put("message", problem.getMessage());
    error.put("code", problem.code());
    error.put("field", problem.param());
    return Map.of("error", error);
  }

  // ---------------------------------------------------------------- jobs

  private void submit(Context ctx) {
    byte[] json = body.json(ctx);
    Fields fields = body.fields(json);
    JobRequest request = request(fields, engine);
    fields.values().put("seed", request.request().seed()); // drawn again, it is the same picture
    Job job = engine.submit(request, Access.caller(ctx, json, false), fields.values());
    job.detach(); // it is drawn whether anybody waits or not
    ctx.status(202).header("Location", "/api/jobs/" + job.id()).json(status(job));
  }

  /** What {@code fields} ask for in our own words. */
  static JobRequest request(Fields fields, Engine engine) {
    fields.refuseUnknown(FIELDS);
    String prompt = Objects.requireNonNullElse(fields.text("prompt"), "");
    Request request =
        fields
            .request(prompt, fields.whole("steps"))
            .withGuidance(fields.guidance("guidance"))
            .withGuidanceRescale(fields.number("guidance_rescale", 0))
            .withClipSkip(fields.whole("clip_skip", 0))
            .withLongPrompts(fields.flag("long_prompts"))
            .withVaeTiling(fields.flag("vae_tiling"));
    BufferedImage mask = fields.picture("mask", Color.BLACK);
    request = from(request, fields.picture("image", Color.WHITE), mask, fields.number("strength"));
    return new JobRequest(
        Objects.requireNonNullElse(fields.words("model"), engine.options().defaultModel()),
        request,
        fields.whole("count", 1),
        fields.words("scheduler"),
        fields.weights("loras"),
        controls(fields, request.image()),
        fields.format("format"),
        fields.whole("quality", 90));
  }

  /** {@code request} from a picture and a mask, where there are any. */
  static Request from(
      Request request,
      @Nullable BufferedImage image,
      @Nullable BufferedImage mask,
      @Nullable Double strength) {
    if (image == null) {
      if (mask != null || strength != null) {
        throw Problem.bad("image", "a mask or a strength needs the picture it is for");
      }
      return request;
    }
    double usual = mask == null ? 0.75 : 1;
    Request started = request.withImage(image, Objects.requireNonNullElse(strength, usual));
    return mask == null ? started : started.withMask(mask);
  }

  private static List<JobRequest.ControlUse> controls(
      Fields fields, @Nullable BufferedImage image) {
    List<JobRequest.ControlUse> controls = new ArrayList<>();
    List<JsonNode> asked = fields.list("controls");
    if (asked.size() > CONTROLS) {
      throw Problem.bad(
          "controls",
          "%d ControlNets are more than the %d that one request may ask for"
              .formatted(asked.size(), CONTROLS));
    }
    for (JsonNode control : asked) {
      if (!(control instanceof ObjectNode object)) {
        throw Problem.bad("controls", "controls hold something that is no object");
      }
      controls.add(control(new Fields(object, fields.maxPixels()), image));
    }
    return controls;
  }

  private static JobRequest.ControlUse control(Fields fields, @Nullable BufferedImage image) {
    fields.refuseUnknown(List.of("net", "image", "scale", "start", "end"));
    BufferedImage own = fields.picture("image", Color.BLACK);
    BufferedImage picture = own == null ? image : own;
    String net = fields.words("net");
    if (net == null || picture == null) {
      throw Problem.bad("controls", "a ControlNet needs its name, net, and the picture it follows");
    }
    return new JobRequest.ControlUse(
        net,
        picture,
        fields.number("scale", 1),
        fields.number("start", 0),
        fields.number("end", 1));
  }

  private Job find(Context ctx) {
    return engine
        .find(ctx.pathParam("id"))
        .orElseThrow(
            () -> new Problem(404, "there is no such job, or what came of it has expired", null));
  }

  private void cancel(Context ctx) {
    Job job = find(ctx);
    engine.cancel(job, "its client took it back");
    ctx.json(status(job));
  }

  private void picture(Context ctx) {
    Job job = find(ctx);
    List<DrawnPicture> pictures = job.now().pictures();
    String index = ctx.pathParam("index").replaceFirst("\\.(png|jpeg|webp)$", "");
    int at = index.matches("\\d{1,4}") ? Integer.parseInt(index) : -1;
    if (at < 0 || at >= pictures.size()) {
      throw new Problem(
          404, "this job has %d pictures now, from 0 on".formatted(pictures.size()), null);
    }
    ctx.contentType(mime(job.request().format()));
    ctx.header("Content-Disposition", "inline");
    ctx.result(pictures.get(at).file());
  }

  static String mime(PictureFormat format) {
    return switch (format) {
      case JPEG -> "image/jpeg";
      case WEBP -> "image/webp";
      default -> "image/png";
    };
  }

  private Map<String, Object> status(Job job) {
    return status(job, job.now());
  }

  private Map<String, Object> status(Job job, Job.Snapshot now) {
    Map<String, Object> status = new LinkedHashMap<>();
    status.put("id", job.id());
    status.put("state", now.state().name().toLowerCase(Locale.ROOT));
    status.put("model", job.request().model());
    status.put("before", now.state() == Job.State.WAITING ? engine.before(job) : 0);
    status.put("step", now.step());
    status.put("steps", now.steps());
    status.put("progress", now.progress());
    List<Map<String, Object>> pictures = new ArrayList<>();
    for (int i = 0; i < now.pictures().size(); i++) {
      Map<String, Object> picture = new LinkedHashMap<>();
      picture.put("path", "/api/jobs/" + job.id() + "/pictures/" + i);
      picture.put("seed", now.pictures().get(i).seed());
      picture.put("settings", now.pictures().get(i).settings());
      pictures.add(picture);
    }
    status.put("pictures", pictures);
    status.put("notes", now.notes());
    status.put("error", now.error() == null ? null : now.error().getMessage());
    return status;
  }

  // ---------------------------------------------------------------- events

  /** One {@code job} event a change, with a preview where there is a new one, until it is over. */
  private void events(Context ctx) {
    Job job = find(ctx);
    if (!watchers.tryAcquire()) {
      throw new Problem(
          429, WATCHERS + " watch already, which is all that may; ask for the job", null);
    }
    job.watch();
    job.attach();
    try {
      EventStream stream = EventStream.open(ctx, job);
      BufferedImage[] shown = new BufferedImage[1];
      Waiting.forEnd(
          ctx,
          job,
          now -> {
            Map<String, Object> status = status(job, now);
            if (now.preview() != null && now.preview() != shown[0]) {
              shown[0] = now.preview();
              status.put("preview", "data:image/png;base64," + base64(now.preview()));
            }
            stream.send("job", status);
          });
    } finally {
      job.unwatch();
      watchers.release();
    }
  }

  /** A PNG. */
  static String base64(BufferedImage preview) {
    try {
      return Base64.getEncoder()
          .encodeToString(PictureEncoder.encode(preview, PictureFormat.PNG, 100, Map.of()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  // ---------------------------------------------------------------- what there is

  private Map<String, Object> models() {
    EngineOptions options = engine.options();
    List<Map<String, Object>> models = new ArrayList<>();
    for (String name : options.models().keySet()) {
      Map<String, Object> model = new LinkedHashMap<>();
      OptionalInt size = engine.ownSize(name);
      model.put("name", name);
      model.put("loaded", engine.loaded().containsKey(name));
      model.put("size", size.isPresent() ? size.getAsInt() : null);
      models.add(model);
    }
    Map<String, Object> all = new LinkedHashMap<>();
    all.put("models", models);
    all.put("loras", options.loras().keySet());
    all.put("controlnets", options.controlNets().keySet());
    all.put("embeddings", options.embeddings().keySet());
    all.put("schedulers", SchedulerConfig.NAMES);
    all.put(
        "limits",
        Map.of(
            "count", options.limits().count(),
            "steps", options.limits().steps(),
            "pixels", options.limits().pixels(),
            "prompt_length", options.limits().promptLength()));
    return all;
  }
}
