package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.InetAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.perflow.serve.Job;

/** Two clients with keys of their own before a short queue; what takes too long, and expires. */
class LimitsTest {
  private static final String ANN = "0123456789abcdef0123456789abcdef";
  private static final String BOB = "fedcba9876543210fedcba9876543210";
  private static final String DRAW = "/sdapi/v1/txt2img";

  /** A minute and more: nothing here waits for its end. */
  private static final String LONG =
      "{'prompt':'sun','steps':150,'batch_size':10,'width':128,'height':128,"
          + "'override_settings':{'sd_model_checkpoint':'emoji-64'}}";

  private static CompletableFuture<HttpResponse<String>> draw(Serving serving, String json) {
    return Serving.HTTP.sendAsync(serving.posting(DRAW, json).build(), BodyHandlers.ofString());
  }

  private static Job drawn(Serving serving) throws InterruptedException {
    while (true) {
      List<Job> jobs = serving.server.engine().unfinished();
      if (!jobs.isEmpty() && jobs.get(0).now().step() > 0) {
        return jobs.get(0);
      }
      Thread.sleep(20);
    }
  }

  private static String task(Serving serving) throws Exception {
    return Serving.json(serving.get("/sdapi/v1/progress")).at("/state/job").asText();
  }

  @Test
  void eachKeyIsAClientOfItsOwnAndAFullQueueSaysWhenToComeBack() throws Exception {
    ServerOptions options =
        ServerOptions.of(Serving.engine().withQueue(1)).withKeys(Map.of("ann", ANN, "bob", BOB));
    try (Serving serving = Serving.start(options).withKey(ANN)) {
      CompletableFuture<HttpResponse<String>> anns = draw(serving, LONG);
      Job job = drawn(serving);
      assertThat(job.caller().client()).isEqualTo("ann");
      assertThat(task(serving)).isEqualTo(job.id());

      serving.withKey(BOB);
      assertThat(task(serving)).isEmpty();
      for (String end : List.of("interrupt", "skip")) {
        assertThat(serving.post("/sdapi/v1/" + end, "{}").statusCode()).isEqualTo(200);
      }
      Job.Snapshot now = job.now();
      assertThat(job.await(now.version(), Duration.ofMinutes(1)).state())
          .isEqualTo(Job.State.DRAWING);

      serving.post("/api/jobs", "{'prompt':'waits'}");
      assertThat(serving.server.engine().waiting()).isEqualTo(1);
      for (String path : List.of("/v1/images/generations", DRAW, "/api/generate", "/api/jobs")) {
        HttpResponse<String> refused = serving.post(path, "{'prompt':'one too many'}");
        assertThat(refused.statusCode()).as(path).isEqualTo(429);
        assertThat(refused.headers().firstValueAsLong("Retry-After").orElseThrow()).isPositive();
        assertThat(refused.body()).contains("1 jobs wait already");
      }
      JsonNode error = Serving.json(serving.post("/v1/images/generations", "{'prompt':'x'}"));
      assertThat(error.at("/error/code").asText()).isEqualTo("queue_full");

      serving.withKey(ANN).post("/sdapi/v1/interrupt", "{}");
      assertThat(anns.get().statusCode()).isEqualTo(200);
      assertThat(Serving.json(anns.get()).path("info").asText()).contains("\"interrupted\": true");
    }
  }

  @Test
  void anInterruptEndsWhatIsDrawnAndNotWhatWaits() throws Exception {
    try (Serving serving = Serving.start()) {
      CompletableFuture<HttpResponse<String>> first = draw(serving, LONG);
      Job job = drawn(serving);
      CompletableFuture<HttpResponse<String>> second = draw(serving, "{'prompt':'moon'}");
      while (serving.server.engine().waiting() == 0) {
        Thread.sleep(20);
      }
      assertThat(task(serving)).isEqualTo(job.id());
      serving.post("/sdapi/v1/interrupt", "{}");
      assertThat(Serving.json(first.get()).path("info").asText()).contains("\"interrupted\": true");
      assertThat(Serving.json(second.get()).path("images")).hasSize(1);
    }
  }

  @Test
  void whatTakesTooLongEndsAndWhatIsOldIsGone() throws Exception {
    ServerOptions options =
        ServerOptions.of(
            Serving.engine().withPatience(Duration.ofSeconds(5)).withKeep(Duration.ofSeconds(1)));
    try (Serving serving = Serving.start(options)) {
      HttpResponse<String> late =
          serving.post(
              "/v1/images/generations",
              "{'prompt':'sun','model':'emoji-64','steps':150,'n':10,'size':'128x128'}");
      assertThat(late.statusCode()).as(late.body()).isEqualTo(504);
      assertThat(late.headers().firstValue("X-Should-Retry")).contains("false");
      String url =
          Serving.json(
                  serving.post(
                      "/v1/images/generations", "{'prompt':'sun','response_format':'url'}"))
              .at("/data/0/url")
              .asText();
      assertThat(url).contains("/files/");
      HttpRequest file = HttpRequest.newBuilder(URI.create(url)).build();
      while (Serving.HTTP.send(file, BodyHandlers.discarding()).statusCode() != 404) {
        Thread.sleep(100);
      }
    }
  }

  /** Else each would be a row of the metrics, for ever. */
  @Test
  void methodsThatAreNoneAreCountedAsOne() throws Exception {
    try (Serving serving = Serving.start();
        Socket socket = new Socket(InetAddress.getLoopbackAddress(), serving.server.port())) {
      String request = "BREW /coffee HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
      socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
      String answer = new String(socket.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
      assertThat(answer).startsWith("HTTP/1.1 4");
      assertThat(serving.get("/metrics").body())
          .contains("method=\"other\"")
          .doesNotContain("BREW");
    }
  }
}
