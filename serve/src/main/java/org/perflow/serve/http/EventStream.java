package org.perflow.serve.http;

import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.SerializationFeature;
import io.javalin.http.Context;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import org.perflow.io.Json;

/** Server-sent events, written as they happen. */
final class EventStream {
  private static final ObjectWriter COMPACT =
      Json.MAPPER.writer().without(SerializationFeature.INDENT_OUTPUT);

  private final OutputStream out;

  private EventStream(OutputStream out) {
    this.out = out;
  }

  /** Begins the answer. */
  static EventStream open(Context ctx) throws IOException {
    ctx.status(200);
    ctx.contentType("text/event-stream");
    ctx.header("X-Accel-Buffering", "no"); // nginx would hold events back
    ctx.res().flushBuffer();
    return new EventStream(ctx.res().getOutputStream());
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
