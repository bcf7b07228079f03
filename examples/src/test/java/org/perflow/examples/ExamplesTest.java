package org.perflow.examples;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.sun.net.httpserver.HttpServer;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.io.ShardWriter;
import org.perflow.pipeline.Pipeline;

/** The examples, run as they stand on the models and data that come with the source. */
class ExamplesTest {
  private static final Path ROOT = Path.of("..");
  private static final String TEACHER = ROOT.resolve("models/emoji-64").toString();
  private static final Path DATA = ROOT.resolve("data/emoji-64");
  private static final Path STUDENT = ROOT.resolve("models/emoji-64-perflow");

  @TempDir Path folder;

  @Test
  void draws() throws IOException {
    Path file = folder.resolve("apple.png");
    Draw.main(new String[] {STUDENT.toString(), "red apple", file.toString()});
    BufferedImage apple = ImageIO.read(file.toFile());
    assertThat(apple.getWidth()).isEqualTo(64);
    int middle = apple.getRGB(32, 40);
    assertThat((middle >> 16) & 255).as("red of %08x", middle).isGreaterThan((middle >> 8) & 255);
  }

  @Test
  void accelerates() throws IOException {
    AccelerateFolder.main(new String[] {TEACHER, someData(), folder.toString(), "1"});
    assertThat(folder.resolve("student/delta.safetensors")).isNotEmptyFile();
    assertThat(stepsOf(folder)).isEqualTo(4);
  }

  @Test
  void hasAMethodOfItsOwn() throws IOException {
    OwnMethod.main(new String[] {TEACHER, someData(), folder.toString(), "1"});
    assertThat(stepsOf(folder)).isEqualTo(1);
    JsonNode config = Json.read(folder.resolve("config.json"));
    assertThat(config.path("method").asText()).isEqualTo("regression");
    assertThat(config.path("regression").path("evaluations").asInt()).isEqualTo(8);
  }

  /** A few dozen pictures: an example is no longer right with more. */
  private String someData() throws IOException {
    List<Path> shards = List.of(DATA.resolve("test.tar"));
    Path data = Files.createDirectories(folder.resolve("data"));
    try (ShardWriter few = new ShardWriter(data.resolve("train-0000.tar"))) {
      for (Sample sample : ShardReader.readAll(shards).subList(0, 32)) {
        few.write(sample);
      }
      few.finish();
    }
    return data.toString();
  }

  private static int stepsOf(Path run) throws IOException {
    return Json.read(run.resolve("student/scheduler/scheduler_config.json"))
        .path("recommended_num_inference_steps")
        .asInt();
  }

  @Test
  void answersOverHttp() throws Exception {
    try (Pipeline pipeline = Pipeline.load(STUDENT)) {
      HttpServer server = WebHandler.start(pipeline, 0);
      try {
        String address = "http://localhost:" + server.getAddress().getPort() + "/draw";
        HttpResponse<byte[]> apple = get(address + "?red+apple");
        assertThat(apple.statusCode()).isEqualTo(200);
        BufferedImage picture = ImageIO.read(new ByteArrayInputStream(apple.body()));
        assertThat(picture.getHeight()).isEqualTo(64);
        assertThat(get(address).statusCode()).isEqualTo(400);
      } finally {
        server.stop(0);
      }
    }
  }

  private static HttpResponse<byte[]> get(String address) throws Exception {
    HttpRequest request = HttpRequest.newBuilder(URI.create(address)).build();
    return HttpClient.newHttpClient().send(request, BodyHandlers.ofByteArray());
  }

  @Test
  void areShort() throws IOException {
    try (Stream<Path> files = Files.list(Path.of("src/main/java/org/perflow/examples"))) {
      List<Path> programs = files.filter(file -> !file.endsWith("package-info.java")).toList();
      assertThat(programs).hasSize(4);
      for (Path program : programs) {
        assertThat(Files.readAllLines(program)).as("%s", program).hasSizeLessThan(100);
      }
    }
  }
}
