package org.perflow.serve.http;

import com.fasterxml.jackson.databind.JsonNode;
import io.javalin.config.RoutesConfig;
import io.javalin.http.Context;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.perflow.pipeline.Request;
import org.perflow.serve.Engine;
import org.perflow.serve.Job;
import org.perflow.serve.JobRequest;

/**
 * OpenAI's image API ({@code /v1/images/generations}, {@code /v1/images/edits}, {@code
 * /v1/models}), with seed, steps, guidance, negative_prompt, scheduler, loras and strength besides.
 *
 * <p>A model name that is not known is served by the default model, since clients have OpenAI's
 * names built in; the answer says which model drew. Pictures come in base64 unless URLs are asked
 * for.
 */
final class OpenAi implements Dialect {
  private static final Pattern SIZE = Pattern.compile("(\\d{1,5})x(\\d{1,5})");
  private static final List<String> FIELDS =
      List.of(
          "prompt",
          "model",
          "n",
          "quality",
          "response_format",
          "output_format",
          "output_compression",
          "stream",
          "partial_images",
          "size",
          "moderation",
          "background",
          "style",
          "user",
          "input_fidelity",
          "seed",
          "steps",
          "guidance",
          "negative_prompt",
          "scheduler",
          "loras",
          "strength");

  private final Engine engine;
  private final Body body;

  OpenAi(Engine engine, Body body) {
    this.engine = engine;
    this.body = body;
  }

  @Override
  public void addTo(RoutesConfig routes) {
    routes.post("/v1/images/generations", this::generations);
    routes.post("/v1/images/edits", this::edits);
    routes.get("/v1/models", ctx -> ctx.json(models()));
    routes.get("/v1/models/{id}", this::model);
  }

  @Override
  public boolean speaks(String path) {
    return path.startsWith("/v1/");
  }

  @Override
  public Object error(Problem problem) {
    return OpenAiAnswer.error(problem);
  }

  // ---------------------------------------------------------------- generations

  private void generations(Context ctx) {
    byte[] json = body.json(ctx);
    Fields fields = body.fields(json);
    int[] size = size(fields);
    Request request = request(fields).withSize(size[0], size[1]);
    answer(ctx, fields, request, json, "image_generation");
  }

  private Request request(Fields fields) {
    fields.refuseUnknown(FIELDS);
    String prompt = fields.text("prompt");
    if (prompt == null) {
      throw Problem.bad("prompt", "there is no prompt; say what to draw");
    }
    if ("transparent".equals(fields.text("background"))) {
      throw Problem.bad("background", "pictures are opaque; ask for background auto or opaque");
    }
    return fields.request(prompt, fields.whole("steps")).withGuidance(fields.guidance("guidance"));
  }

  /** Width and height; 0 and 0 for the model's own. */
  private static int[] size(Fields fields) {
    String size = fields.text("size");
    if (size == null || size.equals("auto")) {
      return new int[] {0, 0};
    }
    Matcher matcher = SIZE.matcher(size);
    if (!matcher.matches()) {
      throw Problem.bad(
          "size", "size is %s; want auto, or such as 512x512".formatted(Body.brief(size)));
    }
    return new int[] {Integer.parseInt(matcher.group(1)), Integer.parseInt(matcher.group(2))};
  }

  /** The model of that name, or the default one. */
  private String modelFor(@Nullable String name) {
    return name != null && engine.options().models().containsKey(name)
        ? name
        : engine.options().defaultModel();
  }

  private void answer(Context ctx, Fields fields, Request request, byte[] content, String kind) {
    JobRequest asked =
        new JobRequest(
            modelFor(fields.text("model")),
            request,
            fields.whole("n", 1),
            fields.words("scheduler"),
            fields.weights("loras"),
            List.of(),
            fields.format("output_format"),
            fields.whole("output_compression", 100));
    boolean urls = asksForUrls(fields);
    boolean stream = fields.flag("stream");
    int partial = fields.whole("partial_images", 0);
    Job job = engine.submit(asked, Access.caller(ctx, content, true));
    if (urls) {
      job.keep();
    }
    ctx.header("X-Perflow-Model", asked.model());
    ctx.header("X-Perflow-Job", job.id());
    OpenAiAnswer answer = new OpenAiAnswer(ctx, job);
    if (stream) {
      answer.stream(kind, partial);
    } else {
      answer.whole(urls);
    }
  }

  /** Some clients send an object with a type. */
  private static boolean asksForUrls(Fields fields) {
    JsonNode given = fields.values().get("response_format");
    String format =
        given != null && given.isObject()
            ? given.path("type").asText("b64_json")
            : fields.text("response_format");
    if (format != null && !List.of("url", "b64_json").contains(format)) {
      throw Problem.bad(
          "response_format",
          "response_format is %s; want b64_json or url".formatted(Body.brief(format)));
    }
    return "url".equals(format);
  }

  // ---------------------------------------------------------------- edits

  private void edits(Context ctx) throws IOException {
    EditForm form = EditForm.read(ctx, body);
    Fields fields = form.fields();
    int[] size = size(fields);
    if (size[0] == 0) {
      size = sizeNear(form.image(), modelFor(fields.text("model")));
    }
    Request request =
        Jobs.from(request(fields), form.image(), form.mask(), fields.number("strength"));
    answer(ctx, fields, request.withSize(size[0], size[1]), form.content(), "image_edit");
  }

  /** The picture's shape in about the model's own number of pixels. */
  private int[] sizeNear(BufferedImage image, String model) {
    OptionalInt own = engine.ownSize(model);
    if (own.isEmpty()) {
      return new int[] {0, 0};
    }
    int unit = Math.max(1, own.getAsInt() / 8);
    double shape = Math.sqrt((double) image.getWidth() / image.getHeight());
    return new int[] {
      (int) Math.max(1, Math.round(8 * shape)) * unit,
      (int) Math.max(1, Math.round(8 / shape)) * unit
    };
  }

  // ---------------------------------------------------------------- models

  private Map<String, Object> models() {
    return Map.of(
        "object",
        "list",
        "data",
        engine.options().models().keySet().stream().map(OpenAi::describe).toList());
  }

  private void model(Context ctx) {
    String name = ctx.pathParam("id");
    if (!engine.options().models().containsKey(name)) {
      throw new Problem(404, "there is no model %s here".formatted(Body.brief(name)), "model");
    }
    ctx.json(describe(name));
  }

  private static Map<String, Object> describe(String name) {
    Map<String, Object> model = new LinkedHashMap<>();
    model.put("id", name);
    model.put("object", "model");
    model.put("created", 0);
    model.put("owned_by", "perflow");
    return model;
  }
}
