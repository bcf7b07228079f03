package org.perflow.serve.http;

import io.javalin.http.Context;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.perflow.io.picture.PictureFormat;
import org.perflow.pipeline.Request;
import org.perflow.serve.DrawnPicture;
import org.perflow.serve.Job;

/**
 * What OpenAI's clients are answered: {@code job} is one that the request {@code ctx} waits for.
 */
record OpenAiAnswer(Context ctx, Job job) {

  static Map<String, Object> error(Problem problem) {
    Map<String, Object> error = new LinkedHashMap<>();
    error.put("message", problem.getMessage());
    error.put("type", problem.status() < 500 ? "invalid_request_error" : "server_error");
    error.put("param", problem.param());
    error.put("code", problem.code());
    return Map.of("error", error);
  }

  /** All pictures in one answer, or where to fetch them. */
  void whole(boolean urls) {
    Job.Snapshot end = Waiting.forResult(ctx, job);
    List<Map<String, Object>> data = new ArrayList<>();
    for (int i = 0; i < end.pictures().size(); i++) {
      Map<String, Object> picture = new LinkedHashMap<>();
      if (urls) {
        picture.put("url", url(i));
      } else {
        picture.put("b64_json", Waiting.base64(end.pictures().get(i)));
      }
      picture.put("seed", end.pictures().get(i).seed());
      data.add(picture);
    }
    Map<String, Object> answer = common();
    answer.put("data", data);
    answer.put("usage", usage());
    answer.put("model", job.request().model());
    if (!end.notes().isEmpty()) {
      answer.put("notes", end.notes());
    }
    ctx.json(answer);
  }

  private String url(int index) {
    return "%s://%s/files/%s/%d.%s"
        .formatted(scheme(), ctx.host(), job.id(), index, name(job.request().format()));
  }

  /** Of the address that the client asked for, which a proxy may have taken https off. */
  private String scheme() {
    return "https".equals(ctx.header("X-Forwarded-Proto")) ? "https" : ctx.scheme();
  }

  private static String name(PictureFormat format) {
    return format.name().toLowerCase(Locale.ROOT);
  }

  private Map<String, Object> common() {
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("created", job.accepted().getEpochSecond());
    answer.put("background", "opaque");
    answer.put("output_format", name(job.request().format()));
    answer.put("quality", "auto");
    answer.put("size", size());
    return answer;
  }

  /** As it was drawn; before that as asked for. */
  private String size() {
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
  void stream(String kind, int partial) {
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
                if (isDue(now, sent[0], partial)) {
                  Map<String, Object> event = event(kind + ".partial_image");
                  event.put("b64_json", Jobs.base64(now.preview()));
                  event.put("partial_image_index", sent[0]++);
                  stream.send(kind + ".partial_image", event);
                }
                while (sent[1] < now.pictures().size()) {
                  Map<String, Object> event = event(kind + ".completed");
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

  /** Whether it is time for the preview after those {@code sent}. */
  private static boolean isDue(Job.Snapshot now, int sent, int partial) {
    return now.preview() != null
        && sent < partial
        && now.step() < now.steps()
        && now.step() * (partial + 1) >= now.steps() * (sent + 1);
  }

  private Map<String, Object> event(String type) {
    Map<String, Object> event = new LinkedHashMap<>();
    event.put("type", type);
    Map<String, Object> common = common();
    event.put("created_at", common.remove("created"));
    event.putAll(common);
    return event;
  }
}
