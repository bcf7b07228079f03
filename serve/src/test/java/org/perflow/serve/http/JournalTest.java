package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.serve.EngineOptions;

/**
 * Servers of a tiny model that are killed by the system: nothing that was accepted is lost, and
 * nothing that was done is drawn again.
 */
class JournalTest {
  private static final Path SD15 = Path.of("../models/src/test/resources/golden/models/sd15");
  private static final Duration PATIENCE = Duration.ofMinutes(5);
  private static final int QUEUE = 1000; // a slow machine leaves most jobs to the end
  private static final Duration KEEP = Duration.ofDays(1);

  @TempDir Path folder;
  private final List<String> accepted = new ArrayList<>();
  private final Map<String, FileTime> done = new HashMap<>();
  private @Nullable JsonNode shown; // pictures and settings of the first

  /** The server that is killed; prints its port. */
  static final class Killed {
    private Killed() {}

    public static void main(String[] args) throws Exception {
      PictureServer server = PictureServer.start(options(Path.of(args[0])));
      System.out.println(server.port());
      System.out.flush();
      Thread.sleep(PATIENCE.toMillis());
    }
  }

  private static ServerOptions options(Path journal) {
    EngineOptions engine = EngineOptions.of(SD15).withJournal(journal).withBatch(1);
    return ServerOptions.of(engine.withQueue(QUEUE).withKeep(KEEP));
  }

  private Process fork() throws IOException {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx1g",
            "-XX:TieredStopAtLevel=1",
            "-Dorg.bytedeco.javacpp.maxBytes=0",
            "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0",
            "-Dperflow.home=" + System.getProperty("perflow.home"),
            "-cp",
            System.getProperty("java.class.path"),
            Killed.class.getName(),
            folder.toString())
        .redirectError(ProcessBuilder.Redirect.DISCARD)
        .start();
  }

  private static HttpResponse<String> send(HttpRequest.Builder request) throws Exception {
    return Serving.HTTP.send(request.timeout(PATIENCE).build(), BodyHandlers.ofString());
  }

  /** A job of two pictures of {@code steps} steps; kept in mind where it is accepted. */
  private String submit(String url, int steps) throws Exception {
    String json =
        "{\"prompt\": \"sun\", \"count\": 2, \"width\": 32, \"height\": 32, \"steps\": %d}"
            .formatted(steps);
    HttpResponse<String> answer =
        send(
            HttpRequest.newBuilder(URI.create(url + "api/jobs"))
                .header("Content-Type", "application/json")
                .POST(BodyPublishers.ofString(json)));
    assertThat(answer.statusCode()).as(answer.body()).isEqualTo(202);
    String id = Serving.json(answer).path("id").asText();
    accepted.add(id);
    return id;
  }

  private static JsonNode job(String url, String id) throws Exception {
    return Serving.json(send(HttpRequest.newBuilder(URI.create(url + "api/jobs/" + id))));
  }

  private static boolean isDone(String url, String id) throws Exception {
    return job(url, id).path("state").asText().equals("done");
  }

  private FileTime written(String id) throws IOException {
    return Files.getLastModifiedTime(folder.resolve(id + ".done").resolve("1"));
  }

  /** Starts a server, lets {@code work} ask it, and kills it. */
  private void kill(Work work) throws Exception {
    Process process = fork();
    try (BufferedReader out =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      work.ask("http://127.0.0.1:%s/".formatted(out.readLine()));
    } finally {
      process.destroyForcibly().waitFor(); // SIGKILL
    }
  }

  /** What is asked of a server before it is killed. */
  private interface Work {
    void ask(String url) throws Exception;
  }

  /** A server that goes on until all is done. */
  private void goOn() throws Exception {
    try (Serving serving = Serving.start(options(folder))) {
      for (String id : accepted) {
        JsonNode end = serving.end(id);
        assertThat(end.path("state").asText()).as(end.toString()).isEqualTo("done");
        assertThat(end.path("pictures")).hasSize(2);
        if (done.containsKey(id)) {
          assertThat(written(id)).isEqualTo(done.get(id));
        }
      }
      if (shown != null) {
        assertThat(job(serving.server.url(), accepted.get(0)).path("pictures")).isEqualTo(shown);
      }
    }
  }

  @Test
  void nothingAcceptedIsLostAndNothingDoneIsDrawnTwice() throws Exception {
    kill(
        url -> {
          String first = submit(url, 2);
          submit(url, 20); // is being drawn, or waits
          submit(url, 20);
          while (!isDone(url, first)) {
            Thread.sleep(50);
          }
          done.put(first, written(first));
          shown = job(url, first).path("pictures");
        });
    goOn();
  }

  /** Killed at any moment, again and again, with the same journal. */
  @Test
  @Tag("slow")
  void thirtyKills() throws Exception {
    Random random = new Random(1);
    for (int round = 0; round < Integer.getInteger("perflow.kills", 30); round++) {
      kill(
          url -> {
            for (int i = 0; i < 4; i++) {
              submit(url, 1 + random.nextInt(40));
            }
            while (send(HttpRequest.newBuilder(URI.create(url + "readyz"))).statusCode() != 200) {
              Thread.sleep(20);
            }
            long end = System.nanoTime() + random.nextInt(4000) * 1_000_000L;
            while (System.nanoTime() < end) {
              for (String id : accepted) {
                if (!done.containsKey(id) && isDone(url, id)) {
                  done.put(id, written(id));
                }
              }
              Thread.sleep(20);
            }
          });
    }
    goOn();
    System.out.printf(
        "%d jobs accepted, %d seen done before a kill, all done in the end%n",
        accepted.size(), done.size());
  }
}
