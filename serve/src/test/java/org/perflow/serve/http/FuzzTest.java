package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.perflow.io.Json;
import org.perflow.serve.EngineOptions;
import org.perflow.tensor.Scope;

/**
 * Requests that are damaged in a seeded way, by clients that leave early, read slowly or close half
 * of their connection: each is answered, or its client is gone; none is a fault of the server, and
 * none leaves a job behind.
 */
class FuzzTest {
  private static final int CLIENTS = 8;
  private static final int HEAP = 16 << 20; // bytes that may be more in use after as many again
  private static final Duration KEEP = Duration.ofSeconds(1);
  private static final String[] PATHS = {
    "/v1/images/generations",
    "/sdapi/v1/txt2img",
    "/sdapi/v1/img2img",
    "/api/generate",
    "/api/jobs",
    "/sdapi/v1/options",
    "/sdapi/v1/png-info",
    "/v1/images/edits"
  };

  @Test
  void aHundredRequests() throws Exception {
    campaign(100);
  }

  /** As many as {@code -Dperflow.fuzz.requests} says. */
  @Test
  @Tag("slow")
  void tenThousandRequests() throws Exception {
    campaign(Integer.getInteger("perflow.fuzz.requests", 10_000));
  }

  private static void campaign(int requests) throws Exception {
    EngineOptions engine =
        Serving.engine().withLimits(new EngineOptions.Limits(2, 8, 64 * 64, 500));
    engine = engine.withQueue(16).withKeep(KEEP);
    try (Serving serving = Serving.start(ServerOptions.of(engine).withBodyBytes(1 << 18))) {
      assertThat(send(serving, requests / 2, 1)).isEmpty();
      settle(serving);
      long objects = Scope.liveObjects();
      Serving.Memory memory = Serving.Memory.now();
      assertThat(send(serving, requests / 2, 2)).isEmpty();
      settle(serving);
      Serving.Memory after = Serving.Memory.now();
      System.out.printf("%d requests: %s; as many again: %s%n", requests / 2, memory, after);
      assertThat(after.heap() - memory.heap()).isLessThan(HEAP);
      assertThat(Scope.liveObjects()).isLessThanOrEqualTo(objects + 50);
      assertThat(serving.post("/v1/images/generations", "{'prompt':'sun'}").statusCode())
          .isEqualTo(200);
    }
  }

  /** All jobs come to an end by themselves. */
  private static void settle(Serving serving) throws Exception {
    for (int i = 0; i < 600 && !serving.server.engine().unfinished().isEmpty(); i++) {
      Thread.sleep(100);
    }
    assertThat(serving.server.engine().unfinished()).isEmpty();
    Thread.sleep(2 * KEEP.toMillis()); // and nothing of them is kept
  }

  /** Answers of the kind that say that the server is at fault. */
  private static List<String> send(Serving serving, int requests, int seed) throws Exception {
    ExecutorService clients = Executors.newFixedThreadPool(CLIENTS);
    try {
      List<Callable<String>> all = new ArrayList<>();
      for (int i = 0; i < requests; i++) {
        long own = seed * 1_000_000L + i;
        all.add(() -> one(serving.server.port(), new Random(own)));
      }
      List<String> faults = new ArrayList<>();
      for (Future<String> answer : clients.invokeAll(all)) {
        String first = answer.get().lines().findFirst().orElse("");
        if (first.matches("HTTP/1.1 5(?!03|05).*")) { // stopped, or of a version that is none
          faults.add(answer.get());
        }
      }
      return faults;
    } finally {
      clients.shutdownNow();
    }
  }

  /** What came back; empty where nobody waited for it. */
  private static String one(int port, Random random) throws IOException {
    byte[] request = request(random);
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
      socket.setSoTimeout(60_000);
      OutputStream out = socket.getOutputStream();
      int cut = random.nextInt(4) == 0 ? random.nextInt(request.length + 1) : request.length;
      out.write(request, 0, cut);
      out.flush();
      switch (random.nextInt(8)) {
        case 0 -> {
          return ""; // gone at once
        }
        case 1 -> socket.shutdownOutput(); // half of it
        case 2 -> { // reads a little, then leaves
          socket.setSoTimeout(50);
          socket.getInputStream().readNBytes(20);
          return "";
        }
        default -> {
          if (cut < request.length) {
            socket.shutdownOutput();
          }
        }
      }
      return new String(read(socket.getInputStream(), random), StandardCharsets.ISO_8859_1);
    } catch (SocketTimeoutException e) {
      return "";
    } catch (IOException e) { // the server hung up on what is no HTTP
      return "";
    }
  }

  private static byte[] read(InputStream in, Random random) throws IOException {
    if (random.nextInt(10) > 0) {
      return in.readAllBytes();
    }
    byte[] start = new byte[64]; // slowly
    int read = 0;
    for (int i = 0; i < 20; i++) {
      int more = in.read(start, Math.min(read, 63), 1);
      if (more < 0) {
        break;
      }
      read += more;
    }
    return start;
  }

  private static byte[] request(Random random) throws IOException {
    String path = PATHS[random.nextInt(PATHS.length)];
    boolean form = path.endsWith("edits");
    byte[] body = damaged(form ? form(random) : json(path, random), random);
    String head =
        "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
            .formatted(
                path, form ? "multipart/form-data; boundary=b" : "application/json", body.length);
    byte[] whole = new byte[head.length() + body.length];
    System.arraycopy(head.getBytes(StandardCharsets.US_ASCII), 0, whole, 0, head.length());
    System.arraycopy(body, 0, whole, head.length(), body.length);
    if (random.nextInt(20) == 0) { // the head, too
      whole[random.nextInt(head.length())] = (byte) random.nextInt(256);
    }
    return whole;
  }

  private static byte[] json(String path, Random random) throws IOException {
    ObjectNode json = Json.MAPPER.createObjectNode();
    int steps = random.nextInt(5) == 0 ? 4 : 9; // more than allowed, for the sake of time
    json.put("prompt", "sun").put("steps", steps).put("seed", random.nextInt(100));
    if (path.endsWith("img2img")) {
      json.putArray("init_images").add(Serving.disc(64));
    } else if (path.endsWith("png-info")) {
      json.put("image", Serving.disc(8));
    } else if (path.endsWith("generate")) {
      json.put("stream", random.nextBoolean());
    } else if (path.endsWith("generations")) {
      json.put("stream", random.nextBoolean()).put("size", "64x64");
    }
    List<String> names = new ArrayList<>();
    json.fieldNames().forEachRemaining(names::add);
    for (int i = random.nextInt(3); i > 0; i--) {
      String name = names.get(random.nextInt(names.size()));
      switch (random.nextInt(8)) {
        case 0 -> json.putNull(name);
        case 1 -> json.put(name, -1);
        case 2 -> json.put(name, 1e300);
        case 3 -> json.put(name, "x".repeat(random.nextInt(2000)));
        case 4 -> json.putArray(name).addArray().addObject();
        case 5 -> json.put(name + "s", true);
        case 6 -> json.put(name, Long.MIN_VALUE);
        default -> json.putObject(name).put(name, name);
      }
    }
    return Json.MAPPER.writeValueAsBytes(json);
  }

  private static byte[] form(Random random) {
    String part = "--b\r\nContent-Disposition: form-data; name=\"%s\"%s\r\n\r\n%s\r\n";
    String file = "; filename=\"a.png\"\r\nContent-Type: image/png";
    String image =
        new String(
            java.util.Base64.getDecoder().decode(Serving.disc(64)), StandardCharsets.ISO_8859_1);
    String text =
        part.formatted("prompt", "", "sun")
            + part.formatted("steps", "", List.of("many", "9", "4").get(random.nextInt(3)))
            + part.formatted("image", file, image)
            + "--b--\r\n";
    return text.getBytes(StandardCharsets.ISO_8859_1);
  }

  private static byte[] damaged(byte[] body, Random random) {
    byte[] copy = body.clone();
    if (copy.length > 0 && random.nextInt(3) > 0) {
      for (int i = random.nextInt(4); i > 0; i--) {
        copy[random.nextInt(copy.length)] = (byte) random.nextInt(256);
      }
    }
    return random.nextInt(30) == 0 ? new byte[(1 << 18) + 1] : copy;
  }
}
