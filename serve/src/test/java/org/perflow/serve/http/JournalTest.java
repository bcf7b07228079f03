package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;

/** A server that is killed by the system, and one that goes on after it. */
class JournalTest {
  private static final int JOBS = 6;

  @TempDir Path folder;

  /** The server that is killed; prints its port. */
  static final class Killed {
    private Killed() {}

    public static void main(String[] args) throws Exception {
      PictureServer server = PictureServer.start(options(Path.of(args[0])));
      server.awaitReady(Duration.ofMinutes(5));
      System.out.println(server.port());
      System.out.flush();
      Thread.sleep(Duration.ofMinutes(10).toMillis());
    }
  }

  private static ServerOptions options(Path journal) {
    return ServerOptions.of(Serving.engine().withJournal(journal).withBatch(1));
  }

  @Test
  void nothingAcceptedIsLostAndNothingDoneIsDrawnTwice() throws Exception {
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx1g",
                "-Dorg.bytedeco.javacpp.maxBytes=0",
                "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0",
                "-Dperflow.home=" + System.getProperty("perflow.home"),
                "-cp",
                System.getProperty("java.class.path"),
                Killed.class.getName(),
                folder.toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    List<String> ids = new ArrayList<>();
    JsonNode done;
    try (BufferedReader out =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      String url = "http://127.0.0.1:" + out.readLine();
      for (int i = 0; i < JOBS; i++) {
        String json = "{\"prompt\": \"sun\", \"model\": \"emoji-64-perflow\", \"count\": 2}";
        HttpRequest post =
            HttpRequest.newBuilder(URI.create(url + "/api/jobs"))
                .header("Content-Type", "application/json")
                .POST(BodyPublishers.ofString(json))
                .build();
        HttpResponse<String> answer = Serving.HTTP.send(post, BodyHandlers.ofString());
        assertThat(answer.statusCode()).as(answer.body()).isEqualTo(202);
        ids.add(Serving.json(answer).path("id").asText());
      }
      HttpRequest first =
          HttpRequest.newBuilder(URI.create(url + "/api/jobs/" + ids.get(0))).build();
      do {
        done = Json.MAPPER.readTree(Serving.HTTP.send(first, BodyHandlers.ofString()).body());
      } while (!done.path("state").asText().equals("done"));
    } finally {
      process.destroyForcibly().waitFor(); // SIGKILL
    }
    Path picture = folder.resolve(ids.get(0) + ".done").resolve("0");
    long written = Files.getLastModifiedTime(picture).toMillis();
    try (Serving serving = Serving.start(options(folder))) {
      assertThat(serving.end(ids.get(0)).path("pictures")).isEqualTo(done.path("pictures"));
      for (String id : ids) {
        JsonNode end = serving.end(id);
        assertThat(end.path("state").asText()).isEqualTo("done");
        assertThat(end.path("pictures")).hasSize(2);
      }
      assertThat(Files.getLastModifiedTime(picture).toMillis()).isEqualTo(written);
    }
    try (Serving serving =
        Serving.start(
            options(folder).withEngine(options(folder).engine().withKeep(Duration.ofMillis(1))))) {
      Thread.sleep(1500); // expired
      assertThat(serving.get("/api/jobs/" + ids.get(0)).statusCode()).isEqualTo(404);
      try (Stream<Path> left = Files.list(folder)) {
        assertThat(left.map(file -> file.getFileName().toString())).containsExactly(".lock");
      }
    }
  }
}
