package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.awt.image.BufferedImage;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.perflow.io.Installation;
import org.perflow.io.Json;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.tensor.DType;

/** What each dialect's clients send, as plain requests, against the pictures of a pipeline. */
class DialectsTest {
  private static Serving serving;
  private static BufferedImage apple;

  @BeforeAll
  static void start() throws Exception {
    serving = Serving.start();
    try (Pipeline pipe = Pipeline.load(Installation.student(), DType.F32)) {
      apple = pipe.draw(Request.of("red apple").withSeed(7));
    }
  }

  @AfterAll
  static void stop() {
    serving.close();
  }

  private static void assertApple(String base64) throws Exception {
    BufferedImage picture = Serving.picture(base64);
    int[] got = Serving.pixels(picture);
    int[] wanted = Serving.pixels(apple);
    assertThat(got).hasSameSizeAs(wanted);
    int most = 0;
    for (int i = 0; i < got.length; i++) {
      for (int shift = 0; shift <= 16; shift += 8) {
        most = Math.max(most, Math.abs((got[i] >> shift & 0xFF) - (wanted[i] >> shift & 0xFF)));
      }
    }
    assertThat(most).isLessThanOrEqualTo(2); // a batch's sums are rounded in another order
  }

  @Test
  void openAiGenerates() throws Exception {
    HttpResponse<String> answer =
        serving.post(
            "/v1/images/generations",
            "{'model':'gpt-image-1','prompt':'red"
                + " apple','n':1,'seed':7,'quality':null,'size':'auto'}");
    assertThat(answer.statusCode()).as(answer.body()).isEqualTo(200);
    JsonNode json = Serving.json(answer);
    assertApple(json.at("/data/0/b64_json").asText());
    assertThat(json.path("model").asText()).isEqualTo(Serving.STUDENT);
    assertThat(json.path("output_format").asText()).isEqualTo("png");
    assertThat(json.path("size").asText()).isEqualTo("64x64");
    assertThat(json.at("/usage/input_tokens_details").isObject()).isTrue();
  }

  @Test
  void openAiGivesUrlsThatServeThePicture() throws Exception {
    JsonNode json =
        Serving.json(
            serving.post(
                "/v1/images/generations",
                "{'prompt':'red"
                    + " apple','seed':7,'n':2,'response_format':{'type':'url'},'output_format':'webp','output_compression':90}"));
    assertThat(json.path("data")).hasSize(2);
    String url = json.at("/data/1/url").asText();
    HttpResponse<String> proxied = // a proxy that takes the encryption off
        Serving.send(
            serving
                .posting("/v1/images/generations", "{'prompt':'sun','response_format':'url'}")
                .header("X-Forwarded-Proto", "https"));
    assertThat(Serving.json(proxied).at("/data/0/url").asText())
        .startsWith("https://127.0.0.1:" + serving.server.port() + "/files/");
    HttpResponse<byte[]> file =
        Serving.HTTP.send(
            java.net.http.HttpRequest.newBuilder(java.net.URI.create(url)).build(),
            HttpResponse.BodyHandlers.ofByteArray());
    assertThat(file.headers().firstValue("content-type")).contains("image/webp");
    assertThat(new String(file.body(), 8, 4, java.nio.charset.StandardCharsets.US_ASCII))
        .isEqualTo("WEBP");
  }

  @Test
  void openAiStreamsPreviews() throws Exception {
    HttpResponse<String> answer =
        serving.post(
            "/v1/images/generations",
            "{'prompt':'red apple','seed':7,'stream':true,'partial_images':2}");
    assertThat(answer.headers().firstValue("content-type").orElse(""))
        .startsWith("text/event-stream");
    List<String> events = answer.body().lines().filter(line -> line.startsWith("event: ")).toList();
    assertThat(events)
        .containsExactly(
            "event: image_generation.partial_image",
            "event: image_generation.partial_image",
            "event: image_generation.completed");
    List<String> data = answer.body().lines().filter(line -> line.startsWith("data: ")).toList();
    JsonNode last = Json.MAPPER.readTree(data.get(2).substring(6));
    assertApple(last.path("b64_json").asText());
    assertThat(last.at("/usage/total_tokens").isInt()).isTrue();
    BufferedImage preview =
        Serving.picture(Json.MAPPER.readTree(data.get(1).substring(6)).path("b64_json").asText());
    assertThat(preview.getWidth()).isEqualTo(64);
  }

  @Test
  void openAiEdits() throws Exception {
    byte[] disc = Base64.getDecoder().decode(Serving.disc(64));
    BufferedImage hole = new BufferedImage(64, 64, BufferedImage.TYPE_INT_ARGB);
    for (int y = 0; y < 64; y++) {
      for (int x = 0; x < 64; x++) {
        hole.setRGB(x, y, x < 32 ? 0 : 0xFF000000); // the left half is drawn anew
      }
    }
    byte[] mask = Base64.getDecoder().decode(Serving.png(hole));
    String boundary = "----x";
    var body = new java.io.ByteArrayOutputStream();
    for (String field : List.of("prompt=green pear", "seed=3", "n=1", "size=auto")) {
      String[] parts = field.split("=", 2);
      body.writeBytes(
          "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n"
              .formatted(boundary, parts[0], parts[1])
              .getBytes(StandardCharsets.UTF_8));
    }
    for (int i = 0; i < 2; i++) {
      body.writeBytes(
          "--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n"
              .formatted(boundary, i == 0 ? "image" : "mask")
              .getBytes(StandardCharsets.UTF_8));
      body.writeBytes(i == 0 ? disc : mask);
      body.writeBytes("\r\n".getBytes(StandardCharsets.UTF_8));
    }
    body.writeBytes("--%s--\r\n".formatted(boundary).getBytes(StandardCharsets.UTF_8));
    HttpResponse<String> answer =
        Serving.send(
            serving
                .to("/v1/images/edits")
                .header("Content-Type", "multipart/form-data; boundary=" + boundary)
                .POST(BodyPublishers.ofByteArray(body.toByteArray())));
    assertThat(answer.statusCode()).as(answer.body()).isEqualTo(200);
    BufferedImage edited = Serving.picture(Serving.json(answer).at("/data/0/b64_json").asText());
    int right = edited.getRGB(48, 32);
    assertThat(right >> 16 & 0xFF).isGreaterThan(200); // still the disc
    assertThat(right >> 8 & 0xFF).isLessThan(80);
    assertThat(edited.getRGB(20, 32)).isNotEqualTo(right);
  }

  @Test
  void openAiRefusesInItsForm() throws Exception {
    HttpResponse<String> answer =
        serving.post("/v1/images/generations", "{'prompt':'x','size':'huge'}");
    assertThat(answer.statusCode()).isEqualTo(400);
    JsonNode error = Serving.json(answer).path("error");
    assertThat(error.path("type").asText()).isEqualTo("invalid_request_error");
    assertThat(error.path("param").asText()).isEqualTo("size");
    answer = serving.post("/v1/images/generations", "{'prompt':'x','size':'63x64'}");
    assertThat(answer.statusCode()).isEqualTo(400);
    assertThat(answer.body()).contains("multiples of 8");
    answer = serving.post("/v1/images/generations", "{'prompt':'x','step':3}");
    assertThat(answer.body()).contains("did you mean 'steps'");
  }

  @Test
  void a1111Draws() throws Exception {
    HttpResponse<String> answer =
        serving.post(
            "/sdapi/v1/txt2img",
            "{'prompt':'red apple','negative_prompt':'','seed':7,'steps':4,'cfg_scale':7.5,"
                + "'width':64,'height':64,'sampler_name':'Automatic','batch_size':2,'n_iter':1,"
                + "'restore_faces':false,'send_images':true,'alwayson_scripts':{}}");
    assertThat(answer.statusCode()).as(answer.body()).isEqualTo(200);
    JsonNode json = Serving.json(answer);
    assertThat(json.path("images")).hasSize(2);
    assertThat(json.path("info").isTextual()).isTrue();
    JsonNode info = Json.MAPPER.readTree(json.path("info").asText());
    assertThat(info.path("all_seeds").toString()).isEqualTo("[7,8]");
    assertThat(info.at("/infotexts/0").asText())
        .contains("Steps: 4", "Seed: 7", "CFG scale: 7.5", "Size: 64x64");
    assertThat(info.path("width").asInt()).isEqualTo(64);
    JsonNode again =
        Serving.json(
            serving.post(
                "/sdapi/v1/png-info", "{'image':'" + json.at("/images/0").asText() + "'}"));
    assertThat(again.path("info").asText()).startsWith("red apple\n").contains("Seed: 7");
  }

  @Test
  void a1111DrawsFromPictures() throws Exception {
    HttpResponse<String> answer =
        serving.post(
            "/sdapi/v1/img2img",
            "{'prompt':'red apple','init_images':['data:image/png;base64,%s'],'denoising_strength':0.5,'seed':1}"
                .formatted(Serving.disc(64)));
    assertThat(answer.statusCode()).as(answer.body()).isEqualTo(200);
    assertThat(Serving.json(answer).path("images")).hasSize(1);
  }

  @Test
  void a1111TellsWhatThereIs() throws Exception {
    assertThat(
            serving
                .post("/sdapi/v1/txt2img", "{'prompt':'x','sampler_name':'DPM fast 9'}")
                .statusCode())
        .isEqualTo(404);
    JsonNode samplers = Serving.json(serving.get("/sdapi/v1/samplers"));
    assertThat(samplers.findValuesAsText("name")).contains("Euler a", "DPM++ 2M Karras");
    assertThat(Serving.json(serving.get("/sdapi/v1/sd-models")).findValuesAsText("model_name"))
        .containsExactly(Serving.STUDENT, Serving.TEACHER);
    assertThat(serving.get("/sdapi/v1/progress").body()).contains("eta_relative");
    assertThat(serving.get("/sdapi/v1/loras").body().strip()).isEqualTo("[ ]");
    assertThat(serving.get("/sdapi/v1/schedulers").statusCode()).isEqualTo(200);
    assertThat(serving.get("/sdapi/v1/options").body()).contains(Serving.STUDENT);
    assertThat(serving.post("/sdapi/v1/interrupt", "{}").statusCode()).isEqualTo(200);
  }

  @Test
  void a1111ChoosesAModel() throws Exception {
    String options = "/sdapi/v1/options";
    String choice = "{'sd_model_checkpoint':'%s','samples_save':true}";
    try {
      assertThat(serving.post(options, choice.formatted(Serving.TEACHER)).statusCode())
          .isEqualTo(200);
      assertThat(serving.get(options).body()).contains("\"" + Serving.TEACHER + "\"");
      JsonNode drawn = Serving.json(serving.post("/sdapi/v1/txt2img", "{'steps':1}"));
      JsonNode info = Json.MAPPER.readTree(drawn.path("info").asText());
      assertThat(info.path("sd_model_name").asText()).isEqualTo(Serving.TEACHER);
      assertThat(serving.post(options, choice.formatted("sd-v1-5.ckpt [6ce0161689]")).statusCode())
          .isEqualTo(404);
    } finally {
      serving.post(options, choice.formatted(Serving.STUDENT + ".safetensors [6ce0161689]"));
    }
    assertThat(serving.get(options).body()).contains("\"" + Serving.STUDENT + "\"");
  }

  /** Passed over, they would change the picture without a word. */
  @Test
  void a1111RefusesWhatItHasNot() throws Exception {
    for (String json :
        List.of(
            "'alwayson_scripts':{'controlnet':{'args':[{'model':'canny'}]}}",
            "'script_name':'x/y/z plot'",
            "'enable_hr':true")) {
      HttpResponse<String> refused =
          serving.post("/sdapi/v1/txt2img", "{'prompt':'x'," + json + "}");
      assertThat(refused.statusCode()).as(json).isEqualTo(400);
      assertThat(Serving.json(refused).path("detail").asText()).endsWith("leave them out");
    }
  }

  @Test
  void ollamaDraws() throws Exception {
    JsonNode json =
        Serving.json(
            serving.post(
                "/api/generate",
                "{'model':'%s:latest','prompt':'red apple','width':64,'height':64,'steps':4,'options':{'seed':7},'stream':false}"
                    .formatted(Serving.STUDENT)));
    assertApple(json.path("image").asText());
    assertThat(json.path("done").asBoolean()).isTrue();
    String lines =
        serving.post("/api/generate", "{'prompt':'red apple','options':{'seed':7}}").body();
    assertThat(lines.lines().toList()).hasSizeGreaterThan(1);
    assertThat(
            lines.lines().map(line -> line.contains("\"done\":true")).collect(Collectors.toList()))
        .endsWith(true)
        .startsWith(false);
  }

  @Test
  void jobsDrawAndTell() throws Exception {
    HttpResponse<String> accepted =
        serving.post("/api/jobs", "{'prompt':'red apple','seed':7,'count':3,'guidance':'7.5-7.5'}");
    assertThat(accepted.statusCode()).as(accepted.body()).isEqualTo(202);
    String id = Serving.json(accepted).path("id").asText();
    String events = serving.get("/api/jobs/" + id + "/events").body();
    assertThat(events).contains("event: job");
    JsonNode end = serving.end(id);
    assertThat(end.path("state").asText()).isEqualTo("done");
    assertThat(end.path("step").asInt()).isEqualTo(end.path("steps").asInt()).isPositive();
    assertThat(end.path("pictures")).hasSize(3);
    assertThat(end.at("/pictures/2/seed").asLong()).isEqualTo(9);
    HttpResponse<byte[]> file =
        Serving.HTTP.send(
            serving.to(end.at("/pictures/0/path").asText()).build(),
            HttpResponse.BodyHandlers.ofByteArray());
    assertApple(Base64.getEncoder().encodeToString(file.body()));
    assertThat(serving.get("/api/jobs/" + "0".repeat(32)).statusCode()).isEqualTo(404);
  }
}
