package org.perflow.serve.http;

import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.SerializationFeature;
import io.javalin.http.Context;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import org.perflow.io.Json;
import org.perflow.serve.Job;

/** Server-sent events, written as they happen. */
final class EventStream {
  private static final ObjectWriter COMPACT =
      Json.MAPPER.writer().without(SerializationFeature.INDENT_OUTPUT);

  private final OutputStream out;

  private EventStream(OutputStream out) {
    this.out = out;
  }

  /** Begins the answer of a request that is attached to {@code job}, or detaches it. */
  static EventStream open(Context ctx, Job job) {
    return new EventStream(begin(ctx, job, "text/event-stream"));
  }

  /** The same for an answer of any type. */
  static OutputStream begin(Context ctx, Job job, String type) {
    ctx.status(200);
    ctx.contentType(type);
    ctx.header("X-Accel-Buffering", "no"); // nginx would hold it back
    try {
      ctx.res().flushBuffer();
      return ctx.res().getOutputStream();
    } catch (IOException e) {
      job.detach();
      throw new Waiting.ClientGoneException();
    }
  }

  /** {@code data} is written as JSON, in one line. */
  void send(String event, Object data) {
    Waiting.writing(
        () -> {
          String text = "event: " + event + "\ndata: " + COMPACT.writeValueAsString(data) + "\n\n";
          out.write(text.getBytes(StandardCharsets.UTF_8));
          out.flush();
        });
  }
}
