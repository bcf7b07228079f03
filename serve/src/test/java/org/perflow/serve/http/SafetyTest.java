package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.image.BufferedImage;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.FormatException;
import org.perflow.serve.Job;

/** Who may ask, how much, and what becomes of clients that misbehave. */
class SafetyTest {
  private static final String KEY = "0123456789abcdef0123456789abcdef";
  private static final String SLOW =
      "{\"prompt\":\"rocket\",\"model\":\"emoji-64\",\"steps\":150,\"n\":10,\"seed\":1}";

  @TempDir Path folder;
  private static Serving serving;

  @BeforeAll
  static void start() {
    serving = Serving.start();
  }

  @AfterAll
  static void stop() {
    serving.close();
  }

  // ---------------------------------------------------------------- who may ask

  @Test
  void loopbackUnlessSaidAloud() {
    ServerOptions options = ServerOptions.of(Serving.engine());
    assertThat(options.isLoopback()).isTrue();
    assertThatThrownBy(() -> options.withHost("0.0.0.0"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("--no-auth");
    assertThat(options.withNoAuth(true).withHost("0.0.0.0").isLoopback()).isFalse();
    assertThatThrownBy(() -> options.withKeys(Map.of("a", "short")))
        .hasMessageContaining("openssl");
  }

  @Test
  void keysAreAsked() throws Exception {
    ServerOptions options = ServerOptions.of(Serving.engine()).withKeys(Map.of("ann", KEY));
    try (Serving closed = Serving.start(options)) {
      for (String path : List.of("/api/models", "/metrics", "/v1/models", "/sdapi/v1/progress")) {
        HttpResponse<String> answer = closed.get(path);
        assertThat(answer.statusCode()).as(path).isEqualTo(401);
        assertThat(answer.headers().firstValue("WWW-Authenticate")).contains("Bearer");
      }
      for (String path : List.of("/", "/page.js", "/healthz", "/readyz", "/openapi.json")) {
        assertThat(closed.get(path).statusCode()).as(path).isEqualTo(200);
      }
      closed.withKey(KEY.replace('0', '1'));
      assertThat(closed.get("/api/models").statusCode()).isEqualTo(401);
      closed.withKey(KEY);
      assertThat(closed.get("/api/models").statusCode()).isEqualTo(200);
    }
  }

  @Test
  void keyFilesAreRead() throws IOException {
    Path file =
        Files.writeString(folder.resolve("keys"), "# ours\nann: " + KEY + "\n\n" + KEY + "x\n");
    assertThat(ApiKeys.read(file)).isEqualTo(Map.of("ann", KEY, "key 4", KEY + "x"));
    Files.writeString(file, "# none\n");
    assertThatThrownBy(() -> ApiKeys.read(file)).isInstanceOf(FormatException.class);
    ApiKeys keys = new ApiKeys(Map.of("ann", KEY));
    assertThat(keys.nameOf(KEY)).contains("ann");
    assertThat(keys.nameOf(KEY + "x")).isEmpty();
    assertThat(keys.nameOf("")).isEmpty();
  }

  @Test
  void pagesOfOtherSitesMayNotAsk() throws Exception {
    HttpResponse<String> other =
        Serving.send(serving.to("/api/models").header("Origin", "https://evil.example"));
    assertThat(other.statusCode()).isEqualTo(403);
    assertThat(other.headers().firstValue("Access-Control-Allow-Origin")).isEmpty();
    String own = "http://127.0.0.1:" + serving.server.port();
    assertThat(Serving.send(serving.to("/api/models").header("Origin", own)).statusCode())
        .isEqualTo(200);
    // A name of the attacker's that points at 127.0.0.1.
    assertThat(raw("GET /api/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"))
        .startsWith("HTTP/1.1 403");
    // A form's content types need no leave from the browser.
    for (String path :
        List.of(
            "/v1/images/generations",
            "/sdapi/v1/txt2img",
            "/sdapi/v1/options",
            "/api/generate",
            "/api/jobs")) {
      HttpRequest.Builder form =
          serving
              .to(path)
              .header("Content-Type", "text/plain")
              .POST(HttpRequest.BodyPublishers.ofString("{\"prompt\": \"x\"}"));
      assertThat(Serving.send(form).statusCode()).as(path).isEqualTo(415);
    }
  }

  @Test
  void thePageLetsNothingElseIn() throws Exception {
    HttpResponse<String> page = serving.get("/");
    assertThat(page.headers().firstValue("Content-Security-Policy").orElse(""))
        .contains("default-src 'none'", "frame-ancestors 'none'")
        .doesNotContain("unsafe");
    assertThat(page.headers().firstValue("X-Content-Type-Options")).contains("nosniff");
    assertThat(page.headers().firstValue("Server")).isEmpty();
    for (String file : List.of("/", "/page.css", "/page.js")) {
      assertThat(serving.get(file).body().replace("http://www.w3.org/2000/svg", ""))
          .as(file)
          .doesNotContain("http://", "https://", "//cdn");
    }
  }

  // ---------------------------------------------------------------- how much

  @Test
  void whatIsWrongIsSaidAndNothingLeaks() throws Exception {
    for (String json :
        List.of(
            "",
            "{",
            "[]",
            "null",
            "{'prompt':1}",
            "{'prompt':'x','prompt':'y'}",
            "{'n':1e400}",
            "{'prompt':'x','seed':1.5}",
            "{'prompt':'x','n':0}",
            "{'prompt':'x','n':11}",
            "{'prompt':'x','size':'99999x99999'}",
            "{'prompt':'x','n':9999999999}",
            "{'prompt':'x','guidance':'a-b'}",
            "{'prompt':'x','output_format':'gif'}",
            "[".repeat(100_000),
            "{'a':" + "[".repeat(100) + "]".repeat(100) + "}")) {
      HttpResponse<String> answer = serving.post("/v1/images/generations", json);
      assertThat(answer.statusCode())
          .as(json.substring(0, Math.min(50, json.length())))
          .isEqualTo(400);
      assertThat(Serving.json(answer).at("/error/message").asText()).isNotEmpty();
      assertThat(answer.body()).doesNotContain("java", "Exception", "/work", "models/");
    }
    assertThat(
            serving
                .post("/v1/images/generations", "{'prompt':'x','loras':{'../../etc/passwd':1}}")
                .statusCode())
        .isEqualTo(404);
    assertThat(serving.get("/files/..%2f..%2fetc/passwd").statusCode()).isIn(400, 404);
    assertThat(serving.get("/page/../../../pom.xml").statusCode()).isIn(400, 404);
    HttpResponse<String> method = serving.get("/v1/images/generations");
    assertThat(method.statusCode()).isEqualTo(405);
    assertThat(method.headers().firstValue("Allow")).contains("POST");
    assertThat(serving.get("/v1/nothing").statusCode()).isEqualTo(404);
  }

  @Test
  void picturesAreBoundedBeforeTheyAreRead() throws Exception {
    BufferedImage bomb = new BufferedImage(2100, 2100, BufferedImage.TYPE_BYTE_BINARY);
    String small = Serving.png(bomb); // more pixels than allowed in a kilobyte
    assertThat(Base64.getDecoder().decode(small).length).isLessThan(5000);
    HttpResponse<String> answer =
        serving.post("/api/jobs", "{'prompt':'x','image':'" + small + "'}");
    assertThat(answer.statusCode()).isEqualTo(400);
    assertThat(answer.body()).contains("4194304 are allowed");
    String many = "{},".repeat(4) + "{}"; // each could bring a picture that unfolds
    answer = serving.post("/api/jobs", "{'prompt':'x','controls':[" + many + "]}");
    assertThat(answer.statusCode()).isEqualTo(400);
    assertThat(answer.body()).contains("5 ControlNets are more than the 4");
    for (String picture : List.of("http://127.0.0.1:1/a.png", "file:///etc/passwd", "AAAA")) {
      answer = serving.post("/api/jobs", "{'prompt':'x','image':'" + picture + "'}");
      assertThat(answer.statusCode()).as(picture).isEqualTo(400);
    }
  }

  @Test
  void bodiesAreBounded() throws Exception {
    byte[] large = new byte[(32 << 20) + 1];
    HttpResponse<String> told =
        Serving.send(
            serving
                .to("/api/jobs")
                .header("Content-Type", "application/json")
                .POST(java.net.http.HttpRequest.BodyPublishers.ofByteArray(large)));
    assertThat(told.statusCode()).isEqualTo(413);
    HttpResponse<String> chunked =
        Serving.send(
            serving
                .to("/api/jobs")
                .header("Content-Type", "application/json")
                .POST(
                    java.net.http.HttpRequest.BodyPublishers.ofInputStream(
                        () -> new java.io.ByteArrayInputStream(large))));
    assertThat(chunked.statusCode()).isEqualTo(413);
  }

  // ---------------------------------------------------------------- clients that leave

  private static String raw(String request) throws IOException {
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), serving.server.port())) {
      socket.getOutputStream().write(request.getBytes(StandardCharsets.UTF_8));
      socket.getOutputStream().flush();
      return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  private static String posting(String path, String json) {
    return "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        .formatted(path, json.length(), json);
  }

  private static Job onlyJob() throws InterruptedException {
    for (int i = 0; i < 500; i++) {
      List<Job> jobs = serving.server.engine().unfinished();
      if (!jobs.isEmpty()) {
        return jobs.get(0);
      }
      Thread.sleep(20);
    }
    throw new AssertionError("no job came");
  }

  @Test
  void aClientThatLeavesTakesItsJobWithIt() throws Exception {
    for (boolean stream : List.of(false, true)) {
      Job job;
      try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), serving.server.port())) {
        String json = stream ? SLOW.replace("}", ",\"stream\":true}") : SLOW;
        socket
            .getOutputStream()
            .write(posting("/v1/images/generations", json).getBytes(StandardCharsets.UTF_8));
        job = onlyJob();
        Thread.sleep(300);
        assertThat(job.now().state().isOver()).isFalse();
      }
      Job.Snapshot now = job.now();
      for (int i = 0; i < 100 && !now.state().isOver(); i++) {
        now = job.await(now.version(), Duration.ofMillis(100));
      }
      assertThat(now.state()).isEqualTo(Job.State.CANCELLED);
    }
    assertThat(serving.get("/metrics").body())
        .containsPattern("http_server_requests_seconds_count.*generations\",status=\"499\"");
  }

  @Test
  void oneClientsCancelIsNoOthers() throws Exception {
    CompletableFuture<HttpResponse<String>> mine =
        Serving.HTTP.sendAsync(
            serving
                .posting("/v1/images/generations", "{'prompt':'sun','model':'emoji-64','steps':20}")
                .build(),
            HttpResponse.BodyHandlers.ofString());
    Job job = onlyJob();
    serving.post("/sdapi/v1/interrupt", "{}"); // of the other dialect: it has drawn nothing
    assertThat(mine.get().statusCode()).isEqualTo(200);
    assertThat(job.now().state()).isEqualTo(Job.State.DONE);
  }

  @Test
  void a1111InterruptsWhatItDraws() throws Exception {
    CompletableFuture<HttpResponse<String>> drawn =
        Serving.HTTP.sendAsync(
            serving
                .posting(
                    "/sdapi/v1/txt2img",
                    "{'prompt':'sun','steps':150,'batch_size':10,'override_settings':{'sd_model_checkpoint':'emoji-64'}}")
                .build(),
            HttpResponse.BodyHandlers.ofString());
    Job job = onlyJob();
    while (job.now().step() < 2) {
      Thread.sleep(20);
    }
    String progress = serving.get("/sdapi/v1/progress").body();
    assertThat(progress).contains(job.id()).doesNotContain("\"current_image\": null");
    serving.post("/sdapi/v1/interrupt", "{}");
    HttpResponse<String> answer = drawn.get();
    assertThat(answer.statusCode()).isEqualTo(200);
    assertThat(Serving.json(answer).path("info").asText()).contains("\"interrupted\": true");
  }

  @Test
  void requestsInOneGoAreAnsweredInTurn() throws Exception {
    String json = "{\"prompt\":\"sun\",\"seed\":1}";
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), serving.server.port())) {
      OutputStream out = socket.getOutputStream();
      out.write(posting("/v1/images/generations", json).getBytes(StandardCharsets.UTF_8));
      out.flush();
      onlyJob();
      out.write(
          (posting("/v1/images/generations", json)
                  + "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
              .getBytes(StandardCharsets.UTF_8)); // while the first is drawn
      out.flush();
      String all = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      assertThat(all.split("HTTP/1.1 200 OK", -1)).hasSize(4);
      assertThat(all).endsWith("ok\n");
    }
  }

  @Test
  void keysOfRepetitionsAreKept() throws Exception {
    HttpResponse<String> first =
        Serving.send(
            serving
                .posting("/v1/images/generations", "{'prompt':'sun'}")
                .header("Idempotency-Key", "one"));
    HttpResponse<String> again =
        Serving.send(
            serving
                .posting("/v1/images/generations", "{'prompt':'sun'}")
                .header("Idempotency-Key", "one"));
    assertThat(again.headers().firstValue("X-Perflow-Job"))
        .isEqualTo(first.headers().firstValue("X-Perflow-Job"));
    assertThat(Serving.json(again).path("data")).isEqualTo(Serving.json(first).path("data"));
    HttpResponse<String> other =
        Serving.send(
            serving
                .posting("/v1/images/generations", "{'prompt':'moon'}")
                .header("Idempotency-Key", "one"));
    assertThat(other.statusCode()).isEqualTo(422);
  }

  @Test
  void aJobIsCancelledByItsName() throws Exception {
    String id =
        Serving.json(
                serving.post(
                    "/api/jobs", "{'prompt':'sun','model':'emoji-64','steps':150,'count':10}"))
            .path("id")
            .asText();
    HttpResponse<InputStream> events =
        Serving.HTTP.send(
            serving.to("/api/jobs/" + id + "/events").build(),
            HttpResponse.BodyHandlers.ofInputStream());
    try (BufferedReader lines =
        new BufferedReader(new InputStreamReader(events.body(), StandardCharsets.UTF_8))) {
      String line = lines.readLine();
      while (!line.contains("\"preview\"")) {
        line = lines.readLine();
      }
      HttpResponse<String> cancelled = Serving.send(serving.to("/api/jobs/" + id).DELETE());
      assertThat(cancelled.body()).contains("\"cancelled\"");
      String last = line;
      for (line = lines.readLine(); line != null; line = lines.readLine()) {
        last = line.isEmpty() ? last : line;
      }
      assertThat(last).contains("\"state\":\"cancelled\"");
    }
  }
}
