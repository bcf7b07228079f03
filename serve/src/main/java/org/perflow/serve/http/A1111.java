package org.perflow.serve.http;

import io.javalin.config.RoutesConfig;
import io.javalin.http.Context;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.perflow.io.picture.PngText;
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

  private final Engine engine;
  private final Body body;
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
    byte[] json = body.json(ctx);
    Fields fields = body.fields(json);
    String named = A1111Request.model(fields);
    String model = modelFor(named == null ? chosen.get(Access.clientOf(ctx)) : named);
    JobRequest asked = A1111Request.read(fields, model, fromImage);
    Job job = engine.submit(asked, Access.caller(ctx, json, true));
    job.watch();
    try {
      Job.Snapshot end = Waiting.forEnd(ctx, job, now -> {});
      if (end.error() != null && end.state() != Job.State.CANCELLED) {
        throw Problem.of(end.error());
      }
      ctx.json(A1111Answer.of(fields, job, end));
    } finally {
      job.unwatch();
    }
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

  // ---------------------------------------------------------------- while it draws

  /** What is drawn for this client, or will be next. */
  private Optional<Job> current(Context ctx) {
    String client = Access.clientOf(ctx);
    return engine.unfinished().stream()
        .filter(job -> job.caller().client().equals(client))
        .filter(job -> job.caller().fingerprint().startsWith(ROOT))
        .findFirst();
  }

  private Map<String, Object> progress(Context ctx) {
    Optional<Job> job = current(ctx);
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
    current(ctx).ifPresent(job -> engine.cancel(job, "its client interrupted it"));
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
    A1111Request.SAMPLERS.forEach(
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
      String info =
          text.containsKey("parameters") ? text.get("parameters") : A1111Answer.infotext(text);
      ctx.json(Map.of("info", text.isEmpty() ? "" : info, "items", text));
    } catch (IOException e) {
      throw Problem.bad("image", "image is no readable PNG: " + e.getMessage());
    }
  }
}
