package org.perflow.hub;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.hub.HubServer.Fault;

/** Several processes at one cache, and those that are killed. */
@Timeout(120)
class HubProcessesTest {
  private static final String NAME = "tiny/weights:model.safetensors";
  private static final int SIZE = 200_000;
  private static final int PIECE = 10_000;

  @TempDir Path cache;

  /** Fetches in a process of its own. */
  public static final class Fetcher {
    public static void main(String[] args) throws Exception {
      System.out.println("started");
      Transfer transfer = new Transfer(3, Duration.ofMillis(50), Duration.ofSeconds(60), PIECE, 1);
      System.out.println(Hub.ofEnvironment().with(transfer).resolve(args[0]));
    }
  }

  private Process fetch(HubServer server) throws IOException {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-XX:TieredStopAtLevel=1",
            "-DHF_ENDPOINT=" + server.endpoint(),
            "-DHF_HUB_CACHE=" + cache,
            "-cp",
            System.getProperty("java.class.path"),
            Fetcher.class.getName(),
            NAME)
        .redirectErrorStream(true)
        .start();
  }

  private static byte[] weights() {
    byte[] bytes = new byte[SIZE];
    new Random(1).nextBytes(bytes);
    return bytes;
  }

  private static void serve(HubServer server) {
    server.commit("tiny/weights", "main", new TreeMap<>(Map.of("model.safetensors", weights())));
  }

  private static void waitForPieces(HubServer server, int count) throws InterruptedException {
    for (long asked = 0; asked < count; ) {
      Thread.sleep(20);
      asked += server.asked().stream().filter(HubServer.Asked::store).count();
    }
  }

  private static String read(Process process) throws IOException {
    return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
  }

  @Test
  void aFetchThatWasKilledGoesOnWithWhatItLacks() throws Exception {
    try (HubServer server = new HubServer()) {
      serve(server);
      Fault[] well = new Fault[12];
      Arrays.fill(well, Fault.of(Fault.Kind.CUT, PIECE)); // all of a piece
      server.fail("store:model.safetensors", well);
      server.fail("store:model.safetensors", Fault.of(Fault.Kind.SILENCE, 10));
      Process first = fetch(server);
      Path partial =
          cache
              .resolve("models--tiny--weights/blobs")
              .resolve(HubServer.hash(weights()) + PartialBlob.SUFFIX);
      waitForPieces(server, 13); // the last of which does not come
      first.destroyForcibly().waitFor();
      assertThat(partial).exists();
      server.asked();
      Process second = fetch(server);
      assertThat(Path.of(read(second).lines().toList().get(1))).hasBinaryContent(weights());
      assertThat(server.asked()).filteredOn(HubServer.Asked::store).hasSize(8);
      assertThat(partial).doesNotExist();
    }
  }

  @Test
  void twoProcessesFetchOnce() throws Exception {
    try (HubServer server = new HubServer()) {
      serve(server);
      server.fail("store:model.safetensors", Fault.of(Fault.Kind.SILENCE, 10));
      Process first = fetch(server);
      waitForPieces(server, 1);
      Process second = fetch(server); // has to wait
      try (var out =
          new BufferedReader(
              new InputStreamReader(second.getInputStream(), StandardCharsets.UTF_8))) {
        assertThat(out.readLine()).isEqualTo("started");
        Thread.sleep(2000);
        assertThat(server.asked()).noneMatch(HubServer.Asked::store);
        first.destroyForcibly().waitFor(); // and goes on when the first is gone
        assertThat(Path.of(out.readLine())).hasBinaryContent(weights());
      }
      List<HubServer.Asked> asked = server.asked();
      assertThat(asked).filteredOn(HubServer.Asked::store).hasSize(SIZE / PIECE);
      assertThat(Files.exists(cache.resolve(".locks/models--tiny--weights"))).isTrue();
    }
  }
}
