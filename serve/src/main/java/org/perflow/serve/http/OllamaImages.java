package org.perflow.serve.http;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.SerializationFeature;
import io.javalin.config.RoutesConfig;
import io.javalin.http.Context;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.perflow.io.Json;
import org.perflow.io.picture.PictureFormat;
import org.perflow.pipeline.Request;
import org.perflow.serve.Engine;
import org.perflow.serve.Job;
import org.perflow.serve.JobRequest;

/**
 * The image form of Ollama's {@code /api/generate}: one picture, or lines of JSON as it is drawn,
 * which is what {@code stream} means there, and the default.
 */
final class OllamaImages implements Dialect {
  private static final ObjectWriter LINE =
      Json.MAPPER.writer().without(SerializationFeature.INDENT_OUTPUT);

  private final Engine engine;
  private final Body body;

  OllamaImages(Engine engine, Body body) {
    this.engine = engine;
    this.body = body;
  }

  @Override
  public void addTo(RoutesConfig routes) {
    routes.post("/api/generate", this::generate);
    routes.get("/api/tags", ctx -> ctx.json(tags()));
    routes.get("/api/version", ctx -> ctx.json(Map.of("version", "0.0.0-perflow")));
  }

  @Override
  public boolean speaks(String path) {
    return List.of("/api/generate", "/api/tags", "/api/version").contains(path);
  }

  @Override
  public Object error(Problem problem) {
    return Map.of("error", String.valueOf(problem.getMessage()));
  }

  private Map<String, Object> tags() {
    return Map.of(
        "models",
        engine.options().models().keySet().stream()
            .map(name -> Map.of("name", name, "model", name))
            .toList());
  }

  private void generate(Context ctx) {
    byte[] json = body.json(ctx);
    Fields fields = body.fields(json);
    String prompt = fields.text("prompt");
    if (prompt == null) {
      throw Problem.bad("prompt", "there is no prompt; say what to draw");
    }
    String model = fields.words("model");
    Fields options = Objects.requireNonNullElseGet(fields.object("options"), body::form);
    Request request = fields.request(prompt, fields.whole("steps")).withSeed(options.seed());
    String named =
        model == null ? engine.options().defaultModel() : model.replaceFirst(":latest$", "");
    boolean stream = !fields.values().has("stream") || fields.flag("stream");
    JobRequest asked =
        new JobRequest(named, request, 1, null, Map.of(), List.of(), PictureFormat.PNG, 100);
    Job job = engine.submit(asked, Access.caller(ctx, json, true));
    if (stream) {
      stream(ctx, job);
    } else {
      ctx.json(answer(job, Waiting.forResult(ctx, job)));
    }
  }

  private static Map<String, Object> answer(Job job, Job.Snapshot end) {
    Map<String, Object> answer = head(job);
    answer.put("response", "");
    answer.put("image", Waiting.base64(end.pictures().get(0)));
    answer.put("done", true);
    answer.put("done_reason", "stop");
    answer.put("total_duration", Duration.between(job.accepted(), Instant.now()).toNanos());
    return answer;
  }

  private static Map<String, Object> head(Job job) {
    Map<String, Object> head = new LinkedHashMap<>();
    head.put("model", job.request().model());
    head.put("created_at", job.accepted().toString());
    return head;
  }

  private void stream(Context ctx, Job job) {
    OutputStream out = EventStream.begin(ctx, job, "application/x-ndjson");
    Job.Snapshot end =
        Waiting.forEnd(
            ctx,
            job,
            now -> {
              if (!now.state().isOver() && now.step() > 0) {
                Map<String, Object> line = head(job);
                line.put("completed", now.step());
                line.put("total", now.steps());
                line.put("done", false);
                write(out, line);
              }
            });
    write(out, end.error() == null ? answer(job, end) : error(Problem.of(end.error())));
  }

  private static void write(OutputStream out, Object line) {
    Waiting.writing(
        () -> {
          out.write(line(line));
          out.flush();
        });
  }

  private static byte[] line(Object line) throws JsonProcessingException {
    return (LINE.writeValueAsString(line) + "\n").getBytes(StandardCharsets.UTF_8);
  }
}
