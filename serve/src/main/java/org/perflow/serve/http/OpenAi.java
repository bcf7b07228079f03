package org.perflow.serve.http;

import com.fasterxml.jackson.databind.JsonNode;
import io.javalin.config.RoutesConfig;
import io.javalin.http.Context;
import io.javalin.http.UploadedFile;
import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.perflow.io.picture.PictureFormat;
import org.perflow.pipeline.Request;
import org.perflow.serve.DrawnPicture;
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
    Map<String, Object> error = new LinkedHashMap<>();
    error.put("message", problem.getMessage());
    error.put("type", problem.status() < 500 ? "invalid_request_error" : "server_error");
    error.put("param", problem.param());
    error.put("code", problem.code());
    return Map.of("error", error);
  }

  // ---------------------------------------------------------------- generations

  private void generations(Context ctx) {
    byte[] json = body.bytes(ctx);
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
    Request request =
        Request.of(prompt)
            .withNegativePrompt(fields.words("negative_prompt"))
            .withGuidance(fields.guidance("guidance"))
            .withSeed(fields.seed());
    Integer steps = fields.whole("steps");
    return steps == null ? request : request.withSteps(steps);
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
    Integer compression = fields.whole("output_compression");
    JobRequest asked =
        new JobRequest(
            modelFor(fields.text("model")),
            request,
            Objects.requireNonNullElse(fields.whole("n"), 1),
            fields.words("scheduler"),
            fields.weights("loras"),
            List.of(),
            fields.format("output_format"),
            compression == null ? 100 : compression);
    boolean urls = asksForUrls(fields);
    boolean stream = fields.flag("stream");
    Integer partial = fields.whole("partial_images");
    Job job = engine.submit(asked, Access.caller(ctx, content, true));
    if (urls) {
      job.keep();
    }
    ctx.header("X-Perflow-Model", asked.model());
    ctx.header("X-Perflow-Job", job.id());
    if (stream) {
      stream(ctx, job, kind, partial == null ? 0 : partial);
      return;
    }
    Job.Snapshot end = Waiting.forResult(ctx, job);
    List<Map<String, Object>> data = new ArrayList<>();
    for (int i = 0; i < end.pictures().size(); i++) {
      data.add(picture(ctx, job, end.pictures().get(i), i, urls));
    }
    Map<String, Object> answer = common(job);
    answer.put("data", data);
    answer.put("usage", usage());
    answer.put("model", asked.model());
    if (!end.notes().isEmpty()) {
      answer.put("notes", end.notes());
    }
    ctx.json(answer);
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

  private static Map<String, Object> picture(
      Context ctx, Job job, DrawnPicture picture, int index, boolean url) {
    Map<String, Object> data = new LinkedHashMap<>();
    if (url) {
      data.put(
          "url",
          "%s://%s/files/%s/%d.%s"
              .formatted(scheme(ctx), ctx.host(), job.id(), index, name(job.request().format())));
    } else {
      data.put("b64_json", Waiting.base64(picture));
    }
    data.put("seed", picture.seed());
    return data;
  }

  /** Of the address that the client asked for, which a proxy may have taken https off. */
  private static String scheme(Context ctx) {
    return "https".equals(ctx.header("X-Forwarded-Proto")) ? "https" : ctx.scheme();
  }

  private static String name(PictureFormat format) {
    return format.name().toLowerCase(Locale.ROOT);
  }

  private static Map<String, Object> common(Job job) {
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("created", job.accepted().getEpochSecond());
    answer.put("background", "opaque");
    answer.put("output_format", name(job.request().format()));
    answer.put("quality", "auto");
    answer.put("size", size(job));
    return answer;
  }

  /** As it was drawn; before that as asked for. */
  private static String size(Job job) {
    List<DrawnPicture> pictures = job.now().pictures();
    if (!pictures.isEmpty()) {
      return pictures.get(0).width() + "x" + pictures.get(0).height();
    }
    Request request = job.request().request();
    return request.width() == 0 ? "auto" : request.width() + "x" + request.height();
  }

  /** Nothing is counted in tokens; the fields must be there. */
  private static Map<String, Object> usage() {
    Map<String, Object> usage = new LinkedHashMap<>();
    usage.put("total_tokens", 0);
    usage.put("input_tokens", 0);
    usage.put("output_tokens", 0);
    usage.put("input_tokens_details", Map.of("text_tokens", 0, "image_tokens", 0));
    return usage;
  }

  // ---------------------------------------------------------------- streaming

  /** {@code partial} previews, evenly over the steps, then the pictures. */
  private void stream(Context ctx, Job job, String kind, int partial) {
    if (partial > 0) {
      job.watch();
    }
    try {
      EventStream stream = EventStream.open(ctx, job);
      int[] sent = {0, 0}; // previews, pictures
      Job.Snapshot end =
          Waiting.forEnd(
              ctx,
              job,
              now -> {
                boolean due =
                    now.preview() != null
                        && sent[0] < partial
                        && now.step() < now.steps()
                        && now.step() * (partial + 1) >= now.steps() * (sent[0] + 1);
                if (due) {
                  Map<String, Object> event = event(kind + ".partial_image", job);
                  event.put("b64_json", Jobs.base64(now.preview()));
                  event.put("partial_image_index", sent[0]++);
                  stream.send(kind + ".partial_image", event);
                }
                while (sent[1] < now.pictures().size()) {
                  Map<String, Object> event = event(kind + ".completed", job);
                  event.put("b64_json", Waiting.base64(now.pictures().get(sent[1]++)));
                  event.put("usage", usage());
                  stream.send(kind + ".completed", event);
                }
              });
      if (end.error() != null) {
        stream.send("error", error(Problem.of(end.error())));
      }
    } finally {
      if (partial > 0) {
        job.unwatch();
      }
    }
  }

  private static Map<String, Object> event(String type, Job job) {
    Map<String, Object> event = new LinkedHashMap<>();
    event.put("type", type);
    Map<String, Object> common = common(job);
    event.put("created_at", common.remove("created"));
    event.putAll(common);
    return event;
  }

  // ---------------------------------------------------------------- edits

  private void edits(Context ctx) throws IOException {
    if (!ctx.isMultipartFormData()) {
      throw new Problem(415, "edits are sent as multipart/form-data", null);
    }
    ByteArrayOutputStream content = new ByteArrayOutputStream();
    Map<String, List<UploadedFile>> files = parts(ctx);
    Fields fields = form(ctx, content);
    byte[] picture = file(files, "image", content);
    byte[] maskFile = file(files, "mask", content);
    if (picture == null) {
      throw Problem.bad("image", "there is no image; send the picture to change");
    }
    int most = fields.maxPixels();
    BufferedImage image = Fields.decode("image", picture, Color.WHITE, most);
    BufferedImage mask =
        maskFile == null
            ? transparency("image", picture, most)
            : Objects.requireNonNullElseGet(
                transparency("mask", maskFile, most),
                () -> {
                  throw Problem.bad(
                      "mask", "mask has no transparent part, which says what to change");
                });
    int[] size = size(fields);
    if (size[0] == 0) {
      size = sizeNear(image, modelFor(fields.text("model")));
    }
    Request request = Jobs.from(request(fields), image, mask, fields.number("strength"));
    answer(ctx, fields, request.withSize(size[0], size[1]), content.toByteArray(), "image_edit");
  }

  private Map<String, List<UploadedFile>> parts(Context ctx) {
    body.checkLength(ctx);
    try {
      return ctx.uploadedFileMap();
    } catch (Exception e) { // Kotlin hides that checked ones come from there, too
      throw Problem.bad(null, "the form cannot be read, or is larger than allowed");
    }
  }

  private static byte @Nullable [] file(
      Map<String, List<UploadedFile>> files, String name, ByteArrayOutputStream content)
      throws IOException {
    List<UploadedFile> sent = new ArrayList<>(files.getOrDefault(name, List.of()));
    sent.addAll(files.getOrDefault(name + "[]", List.of()));
    if (sent.size() > 1) {
      throw Problem.bad(name, "there are %d of %s; one can be used".formatted(sent.size(), name));
    }
    if (sent.isEmpty()) {
      return null;
    }
    try (InputStream in = sent.get(0).content()) {
      byte[] bytes = in.readAllBytes();
      content.writeBytes(ApiKeys.digest(bytes));
      return bytes;
    }
  }

  /** The form's fields as JSON has them. */
  private Fields form(Context ctx, ByteArrayOutputStream content) {
    Fields fields = body.form();
    for (var entry : ctx.formParamMap().entrySet()) {
      if (entry.getValue().isEmpty()) { // a file
        continue;
      }
      String name = entry.getKey();
      String value = entry.getValue().get(0);
      content.writeBytes((name + "=" + value + "\n").getBytes(StandardCharsets.UTF_8));
      if (List.of("n", "output_compression", "partial_images", "seed", "steps", "strength")
          .contains(name)) {
        try {
          double number = Double.parseDouble(value);
          if (number == Math.rint(number) && Math.abs(number) < 1L << 53) {
            fields.values().put(name, (long) number);
          } else {
            fields.values().put(name, number);
          }
        } catch (NumberFormatException e) {
          throw Problem.bad(name, "%s is %s; want a number".formatted(name, Body.brief(value)));
        }
      } else if (name.equals("stream")) {
        fields.values().put(name, value.equals("true"));
      } else {
        fields.values().put(name, value);
      }
    }
    return fields;
  }

  /**
   * White where the picture is transparent, which is what to draw anew; null where it is nowhere.
   * What is transparent differs on black and on white.
   */
  private static @Nullable BufferedImage transparency(String name, byte[] file, int most) {
    BufferedImage black = Fields.decode(name, file, Color.BLACK, most);
    BufferedImage white = Fields.decode(name, file, Color.WHITE, most);
    boolean any = false;
    for (int y = 0; y < black.getHeight(); y++) {
      for (int x = 0; x < black.getWidth(); x++) {
        int seen = (white.getRGB(x, y) & 0xFF) - (black.getRGB(x, y) & 0xFF);
        boolean through = seen > 127;
        any |= through;
        black.setRGB(x, y, through ? 0xFFFFFF : 0);
      }
    }
    return any ? black : null;
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
