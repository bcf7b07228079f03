package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;

/** {@code perflow serve} as a process. */
class ServeCommandTest {
  private static final Path SD15 = Path.of("../models/src/test/resources/golden/models/sd15");
  private static final String LONG =
      "{\"prompt\": \"sun\", \"steps\": 150, \"%s\": 10, \"seed\": 1}"; // some ten seconds

  @TempDir Path folder;
  private final HttpClient http =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
  private String url = "";

  private HttpRequest to(String path, String json) {
    HttpRequest.Builder builder =
        HttpRequest.newBuilder(URI.create(url + path)).timeout(Duration.ofMinutes(2));
    return json.isEmpty()
        ? builder.build()
        : builder
            .header("Content-Type", "application/json")
            .POST(BodyPublishers.ofString(json))
            .build();
  }

  private HttpResponse<String> ask(String path, String json) throws Exception {
    return http.send(to(path, json), BodyHandlers.ofString());
  }

  private String log() throws Exception {
    return Files.readString(folder.resolve("log"));
  }

  private void awaitUrl(Process process) throws Exception {
    Pattern said = Pattern.compile("perflow serves at (http://127.0.0.1:\\d+/)\\R");
    for (int i = 0; i < 1200; i++) {
      Matcher matcher = said.matcher(log());
      if (matcher.find()) {
        url = matcher.group(1);
        return;
      }
      assertThat(process.isAlive()).as("ended early: %s", log()).isTrue();
      Thread.sleep(100);
    }
    throw new AssertionError(log());
  }

  @Test
  void isStoppedInTimeAndHandsBackWhatItDraws() throws Exception {
    Process process =
        Processes.perflow(
            folder.resolve("log"),
            Map.of("OMP_NUM_THREADS", "1"),
            "serve",
            "--port=0",
            "--drain=1",
            "--dtype=float32",
            "--model=tiny=" + SD15);
    try {
      awaitUrl(process);
      String id =
          Json.MAPPER.readTree(ask("api/jobs", LONG.formatted("count")).body()).path("id").asText();
      JsonNode job = Json.MAPPER.createObjectNode();
      while (job.path("step").asInt() == 0) {
        job = Json.MAPPER.readTree(ask("api/jobs/" + id, "").body());
        assertThat(job.path("state").asText()).isIn("waiting", "drawing");
        Thread.sleep(20);
      }
      CompletableFuture<HttpResponse<String>> waits =
          http.sendAsync(to("v1/images/generations", LONG.formatted("n")), BodyHandlers.ofString());
      Thread.sleep(500); // it is accepted
      long begin = System.nanoTime();
      process.destroy(); // SIGTERM
      for (int i = 0; i < 100 && !log().contains("perflow stops"); i++) {
        Thread.sleep(10);
      }
      HttpResponse<String> late = ask("v1/images/generations", LONG.formatted("n"));
      assertThat(late.statusCode()).isEqualTo(503);
      assertThat(late.headers().firstValueAsLong("Retry-After")).isPresent();
      assertThat(waits.get(60, TimeUnit.SECONDS).statusCode()).isEqualTo(503);
      assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
      assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Duration.ofSeconds(30));
      assertThat(process.exitValue()).isEqualTo(128 + 15);
    } finally {
      process.destroyForcibly();
    }
    assertThat(log())
        .contains("2 jobs were not done in time")
        .containsPattern("INFO loaded name=\"tiny\" bytes=\\d+ seconds=[\\d.]+\\R")
        .containsPattern(
            "INFO request method=POST path=/api/jobs status=202 seconds=[\\d.]+"
                + " client=\"127.0.0.1\"")
        .containsPattern("INFO job over id=\\w{32} state=CANCELLED model=\"tiny\" pictures=0 ");
  }

  /**
   * What cannot be ended, as a model on a disk that does not answer: here a pipe without an end.
   */
  @Test
  void isStoppedInTimeEvenWhereWhatItDoesNeverEnds() throws Exception {
    Path stuck = folder.resolve("stuck");
    Path pipe =
        Files.createDirectories(stuck.resolve("scheduler")).resolve("scheduler_config.json");
    assumeTrue(new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor() == 0, "no mkfifo");
    Files.copy(SD15.resolve("model_index.json"), stuck.resolve("model_index.json"));
    Process process =
        Processes.perflow(
            folder.resolve("log"),
            Map.of("OMP_NUM_THREADS", "1"),
            "serve",
            "--port=0",
            "--drain=1",
            "--dtype=float32",
            "--model=tiny=" + SD15,
            "--model=" + stuck);
    try {
      awaitUrl(process);
      String asked = "{\"prompt\": \"sun\", \"model\": \"stuck\"}";
      String id = Json.MAPPER.readTree(ask("api/jobs", asked).body()).path("id").asText();
      while (!ask("api/jobs/" + id, "").body().contains("drawing")) {
        Thread.sleep(20);
      }
      process.destroy(); // SIGTERM
      assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
      assertThat(process.exitValue()).isEqualTo(128 + 15);
    } finally {
      process.destroyForcibly();
    }
    assertThat(log()).contains("state=CANCELLED", "perflow ends without it");
  }
}
