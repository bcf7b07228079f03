package org.perflow.serve.http;

import com.fasterxml.jackson.databind.JsonNode;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.perflow.io.Installation;
import org.perflow.io.Json;
import org.perflow.serve.EngineOptions;
import org.perflow.tensor.Scope;

/** A running server with the student and the teacher that come with perflow, and how to ask it. */
final class Serving implements AutoCloseable {
  static final String STUDENT = "emoji-64-perflow";
  static final String TEACHER = "emoji-64";
  static final HttpClient HTTP =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  final PictureServer server;
  private String key = "";

  private Serving(PictureServer server) {
    this.server = server;
  }

  static EngineOptions engine() {
    Map<String, Path> models = new LinkedHashMap<>();
    models.put(STUDENT, Installation.student());
    models.put(TEACHER, Installation.teacher());
    return EngineOptions.of(Installation.student()).withModels(models);
  }

  static Serving start() {
    return start(ServerOptions.of(engine()));
  }

  static Serving start(ServerOptions options) {
    try {
      PictureServer server = PictureServer.start(options);
      if (!server.awaitReady(Duration.ofMinutes(2))) {
        server.close();
        throw new IllegalStateException("not ready");
      }
      return new Serving(server);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  Serving withKey(String value) {
    key = value;
    return this;
  }

  HttpRequest.Builder to(String path) {
    HttpRequest.Builder builder =
        HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + server.port() + path));
    builder.timeout(Duration.ofMinutes(2));
    return key.isEmpty() ? builder : builder.header("Authorization", "Bearer " + key);
  }

  static HttpResponse<String> send(HttpRequest.Builder request) throws Exception {
    return HTTP.send(request.build(), BodyHandlers.ofString());
  }

  HttpResponse<String> get(String path) throws Exception {
    return send(to(path).GET());
  }

  HttpRequest.Builder posting(String path, String json) {
    return to(path)
        .header("Content-Type", "application/json")
        .POST(BodyPublishers.ofString(json.replace('\'', '"')));
  }

  /** Apostrophes stand for quotes. */
  HttpResponse<String> post(String path, String json) throws Exception {
    return send(posting(path, json));
  }

  static JsonNode json(HttpResponse<String> answer) throws IOException {
    return Json.MAPPER.readTree(answer.body());
  }

  /** What is in use once the heap is collected: of the heap, and of the process. */
  record Memory(long heap, long process) {
    static Memory now() {
      System.gc();
      Runtime java = Runtime.getRuntime();
      return new Memory(java.totalMemory() - java.freeMemory(), Scope.physicalBytes());
    }

    @Override
    public String toString() {
      return "%,d MB, %,d MB of heap in use".formatted(process >> 20, heap >> 20);
    }
  }

  /** Waits for the end of a job of ours. */
  JsonNode end(String id) throws Exception {
    while (true) {
      JsonNode status = json(get("/api/jobs/" + id));
      if (!status.path("state").asText().matches("waiting|drawing")) {
        return status;
      }
      Thread.sleep(20);
    }
  }

  static BufferedImage picture(String base64) throws IOException {
    return ImageIO.read(new java.io.ByteArrayInputStream(Base64.getDecoder().decode(base64)));
  }

  /** A PNG of a red disc on white, in base64. */
  static String disc(int side) {
    BufferedImage image = new BufferedImage(side, side, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    graphics.setColor(Color.WHITE);
    graphics.fillRect(0, 0, side, side);
    graphics.setColor(Color.RED);
    graphics.fillOval(side / 8, side / 8, side * 3 / 4, side * 3 / 4);
    graphics.dispose();
    return png(image);
  }

  static String png(BufferedImage image) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try {
      ImageIO.write(image, "png", out);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return Base64.getEncoder().encodeToString(out.toByteArray());
  }

  /** The first of these programs that the PATH has. */
  static Optional<Path> program(String... names) {
    return Stream.of(names)
        .flatMap(
            name ->
                Stream.of(System.getenv("PATH").split(File.pathSeparator))
                    .map(folder -> Path.of(folder, name)))
        .filter(Files::isExecutable)
        .findFirst();
  }

  static int[] pixels(BufferedImage image) {
    return image.getRGB(0, 0, image.getWidth(), image.getHeight(), null, 0, image.getWidth());
  }

  @Override
  public void close() {
    server.close();
  }
}
