package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.Color;
import java.awt.image.BufferedImage;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.perflow.flow.Guidance;
import org.perflow.io.Json;
import org.perflow.io.picture.PictureDecoder;
import org.perflow.io.picture.PngText;
import org.perflow.models.AppliedEmbeddings;
import org.perflow.models.ControlNetModel;
import org.perflow.models.DiffusionModel;
import org.perflow.models.lora.AppliedLoras;
import org.perflow.pipeline.Control;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.serve.EngineOptions;
import org.perflow.tensor.DType;

/**
 * All that {@code perflow generate} does, as requests to a server of the tests' tiny models: each
 * picture is that of a pipeline.
 */
class GenerateTest {
  private static final Path GOLDEN = Path.of("../models/src/test/resources/golden");
  private static final Path SD15 = GOLDEN.resolve("models/sd15");
  private static final Path CONTROL = GOLDEN.resolve("models/controlnet-sd15");
  private static final Path LORA = GOLDEN.resolve("lora/peft.safetensors");
  private static final Path TOY = GOLDEN.resolve("embeddings/learned_embeds.safetensors");
  private static final Path XL_STYLE = GOLDEN.resolve("embeddings/xl-style.safetensors");
  private static final String USUAL = "'prompt':'a red apple','steps':4,'seed':7,'guidance':7.5";

  private static final Request APPLE =
      Request.of("a red apple").withSteps(4).withSeed(7).withGuidance(7.5);
  private static Serving serving;
  private static Pipeline pipe;
  private static BufferedImage plain;

  @BeforeAll
  static void start() throws Exception {
    Map<String, Path> models = new LinkedHashMap<>();
    models.put("tiny", SD15);
    models.put("xl", GOLDEN.resolve("models/sdxl"));
    EngineOptions engine =
        EngineOptions.of(SD15)
            .withModels(models)
            .withLoras(Map.of("style", LORA, "other", GOLDEN.resolve("lora/kohya.safetensors")))
            .withControlNets(Map.of("edges", CONTROL))
            .withEmbeddings(Map.of("<toy>", TOY, "<style>", XL_STYLE));
    serving = Serving.start(ServerOptions.of(engine));
    pipe = Pipeline.load(SD15, DType.F32);
    plain = pipe.draw(APPLE);
  }

  @AfterAll
  static void stop() {
    serving.close();
    pipe.close();
  }

  /** The usual job with {@code json} in it. */
  private static String usualWith(String json) throws Exception {
    ObjectNode asked = (ObjectNode) Json.MAPPER.readTree(("{" + USUAL + "}").replace('\'', '"'));
    asked.setAll((ObjectNode) Json.MAPPER.readTree(("{" + json + "}").replace('\'', '"')));
    return asked.toString();
  }

  /** Its files. */
  private static byte[][] files(String json) throws Exception {
    HttpResponse<String> accepted = serving.post("/api/jobs", usualWith(json));
    assertThat(accepted.statusCode()).as(accepted.body()).isEqualTo(202);
    JsonNode end = serving.end(Serving.json(accepted).path("id").asText());
    assertThat(end.path("state").asText()).as(end.toString()).isEqualTo("done");
    byte[][] files = new byte[end.path("pictures").size()][];
    for (int i = 0; i < files.length; i++) {
      String path = end.at("/pictures/" + i + "/path").asText();
      files[i] = Serving.HTTP.send(serving.to(path).build(), bytes()).body();
    }
    return files;
  }

  private static HttpResponse.BodyHandler<byte[]> bytes() {
    return HttpResponse.BodyHandlers.ofByteArray();
  }

  /** The one there is. */
  private static byte[] file(String json) throws Exception {
    return files(json)[0];
  }

  private static BufferedImage picture(byte[] file) throws Exception {
    return PictureDecoder.decode(file, Color.WHITE);
  }

  private static int distance(BufferedImage a, BufferedImage b) {
    assertThat(a.getWidth()).isEqualTo(b.getWidth());
    assertThat(a.getHeight()).isEqualTo(b.getHeight());
    int[] left = Serving.pixels(a);
    int[] right = Serving.pixels(b);
    int most = 0;
    for (int i = 0; i < left.length; i++) {
      for (int shift = 0; shift <= 16; shift += 8) {
        most = Math.max(most, Math.abs((left[i] >> shift & 0xFF) - (right[i] >> shift & 0xFF)));
      }
    }
    return most;
  }

  /** As the pipeline draws it, rounding aside, and not as without {@code json}. */
  private static void assertDraws(String json, Pipeline by, Request request) throws Exception {
    BufferedImage wanted = by.draw(request);
    assertThat(distance(picture(file(json)), wanted)).as(json).isLessThanOrEqualTo(2);
    boolean sameSize = wanted.getWidth() == plain.getWidth();
    assertThat(sameSize && distance(wanted, plain) <= 2).as(json + " says something").isFalse();
  }

  @Test
  void textAndNumbers() throws Exception {
    assertThat(distance(picture(file("")), plain)).isLessThanOrEqualTo(2);
    Map<String, UnaryOperator<Request>> cases = new LinkedHashMap<>();
    cases.put("'guidance':1", request -> request.withGuidance(1));
    cases.put("'guidance':'9-5-3-1'", request -> request.withGuidance(Guidance.parse("9-5-3-1")));
    cases.put("'guidance_rescale':0.7", request -> request.withGuidanceRescale(0.7));
    cases.put("'negative_prompt':'green'", request -> request.withNegativePrompt("green"));
    cases.put("'steps':3", request -> request.withSteps(3));
    cases.put("'seed':8", request -> request.withSeed(8));
    cases.put("'width':48,'height':32", request -> request.withSize(48, 32));
    cases.put("'clip_skip':1", request -> request.withClipSkip(1));
    cases.put(
        "'prompt':'a (red:9) apple','long_prompts':true",
        request -> request.withPrompt("a (red:9) apple").withLongPrompts(true));
    for (var each : cases.entrySet()) {
      assertDraws(each.getKey(), pipe, each.getValue().apply(APPLE));
    }
  }

  @Test
  void samplers() throws Exception {
    for (String name : List.of("dpmpp-2m-karras", "euler-a", "unipc")) {
      assertDraws("'scheduler':'" + name + "'", pipe.withScheduler(name), APPLE);
    }
  }

  @Test
  void fromPicturesAndMasks() throws Exception {
    BufferedImage disc = Serving.picture(Serving.disc(32));
    String image = "'image':'" + Serving.disc(32) + "'";
    assertDraws(image + ",'strength':0.5", pipe, APPLE.withImage(disc, 0.5));
    BufferedImage mask = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
    mask.createGraphics().fillRect(0, 0, 16, 32);
    assertDraws(
        image + ",'mask':'" + Serving.png(mask) + "'",
        pipe,
        APPLE.withImage(disc, 1).withMask(mask));
  }

  @Test
  void controlNets() throws Exception {
    BufferedImage disc = Serving.picture(Serving.disc(32));
    String control = "{'net':'edges','image':'%s','scale':%s,'end':%s}";
    String both =
        "'controls':["
            + control.formatted(Serving.disc(32), 0.5, 1)
            + ","
            + control.formatted(Serving.disc(32), 1, 0.5)
            + "]";
    try (ControlNetModel net = ControlNetModel.load(CONTROL, DType.F32)) {
      Control whole = Control.of(net, disc).withScale(0.5);
      Control half = Control.of(net, disc).between(0, 0.5);
      assertDraws(both, pipe, APPLE.withControls(whole, half));
    }
    assertThat(PngText.read(file(both)).get("controlnet"))
        .isEqualTo("edges (scale 0.5, 0.0 to 1.0); edges (scale 1.0, 0.0 to 0.5)");
  }

  @Test
  void lorasComeAndGoWithTheirRequest() throws Exception {
    byte[] before = file("");
    try (DiffusionModel model = DiffusionModel.load(SD15, DType.F32);
        AppliedLoras added =
            AppliedLoras.fuse(model, List.of(new AppliedLoras.Source(LORA, 0.8)))) {
      assertThat(added.notes()).isEmpty();
      assertDraws("'loras':{'style':0.8}", new Pipeline(model), APPLE);
    }
    byte[] with = file("'loras':{'style':0.8}");
    assertThat(PngText.read(with).get("lora")).isEqualTo("style:0.8");
    assertThat(file("")).isEqualTo(before); // bit for bit
    assertThat(file("'loras':{'other':-0.5,'style':2}")).isNotEqualTo(with);
    assertThat(file("'loras':{'style':0.8}")).isEqualTo(with);
    assertThat(file("")).isEqualTo(before);
    JsonNode refused = // by its name alone
        Serving.json(serving.post("/api/jobs", usualWith("'model':'xl','loras':{'style':1}")));
    JsonNode end = serving.end(refused.path("id").asText());
    assertThat(end.path("state").asText()).isEqualTo("failed");
    assertThat(end.path("error").asText()).contains("style").doesNotContain("safetensors");
    assertThat(file("")).isEqualTo(before);
  }

  @Test
  void promptsSayEmbeddings() throws Exception {
    String json = "'prompt':'a red apple <toy>'";
    try (DiffusionModel model = DiffusionModel.load(SD15, DType.F32);
        AppliedEmbeddings embedded =
            AppliedEmbeddings.read(model, List.of(new AppliedEmbeddings.Source(TOY, "<toy>")))) {
      BufferedImage wanted =
          new Pipeline(embedded.model()).draw(APPLE.withPrompt("a red apple <toy>"));
      assertThat(distance(picture(file(json)), wanted)).isLessThanOrEqualTo(2);
      assertThat(distance(wanted, pipe.draw(APPLE.withPrompt("a red apple <toy>")))).isPositive();
    }
    assertThat(serving.get("/api/models").body()).contains("<toy>");
  }

  @Test
  void severalPicturesAndFormats() throws Exception {
    byte[][] three = files("'count':3");
    for (int i = 0; i < 3; i++) {
      assertThat(distance(picture(three[i]), pipe.draw(APPLE.withSeed(7 + i))))
          .isLessThanOrEqualTo(2);
    }
    Map<String, String> text = PngText.read(three[1]);
    assertThat(text)
        .containsEntry("prompt", "a red apple")
        .containsEntry("seed", "8")
        .containsEntry("steps", "4")
        .containsEntry("guidance", "7.5")
        .containsEntry("model", "tiny")
        .containsKeys("scheduler", "software");
    for (String format : List.of("jpeg", "webp")) {
      byte[] good = file("'format':'" + format + "','quality':95");
      byte[] small = file("'format':'" + format + "','quality':5");
      assertThat(small.length).isLessThan(good.length);
      BufferedImage seen = picture(good);
      assertThat(seen.getWidth()).isEqualTo(plain.getWidth());
      assertThat(mean(seen)).isCloseTo(mean(plain), Offset.offset(8.0));
      String magic = format.equals("jpeg") ? "\u00ff\u00d8\u00ff" : "RIFF";
      assertThat(new String(good, 0, magic.length(), StandardCharsets.ISO_8859_1)).isEqualTo(magic);
    }
  }

  private static double mean(BufferedImage image) {
    long sum = 0;
    for (int rgb : Serving.pixels(image)) {
      sum += (rgb >> 16 & 0xFF) + (rgb >> 8 & 0xFF) + (rgb & 0xFF);
    }
    return sum / 3.0 / image.getWidth() / image.getHeight();
  }

  @Test
  void otherDialectsDrawTheSame() throws Exception {
    JsonNode a1111 =
        Serving.json(
            serving.post(
                "/sdapi/v1/txt2img",
                "{'prompt':'a red apple <lora:style:0.8>','steps':4,'seed':7,'cfg_scale':7.5,"
                    + "'sampler_name':'DPM++ 2M','scheduler':'karras'}"));
    JsonNode openAi =
        Serving.json(
            serving.post(
                "/v1/images/generations",
                "{'prompt':'a red apple','steps':4,'seed':7,'guidance':'7.5','loras':{'style':0.8},"
                    + "'scheduler':'dpmpp-2m-karras','output_format':'png'}"));
    try (DiffusionModel model = DiffusionModel.load(SD15, DType.F32);
        AppliedLoras added =
            AppliedLoras.fuse(model, List.of(new AppliedLoras.Source(LORA, 0.8)))) {
      assertThat(added.notes()).isEmpty();
      Pipeline by = new Pipeline(model).withScheduler("dpmpp-2m-karras");
      BufferedImage wanted = by.draw(APPLE.withLongPrompts(true));
      BufferedImage plainly = by.draw(APPLE);
      assertThat(distance(Serving.picture(a1111.at("/images/0").asText()), wanted))
          .isLessThanOrEqualTo(2);
      assertThat(distance(Serving.picture(openAi.at("/data/0/b64_json").asText()), plainly))
          .isLessThanOrEqualTo(2);
    }
    String image = Serving.disc(32);
    BufferedImage mask = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
    mask.createGraphics().fillRect(0, 0, 16, 32);
    JsonNode inpainted =
        Serving.json(
            serving.post(
                "/sdapi/v1/img2img",
                ("{'prompt':'a red apple','steps':4,'seed':7,'cfg_scale':7.5,'init_images':['%s'],"
                        + "'mask':'%s','denoising_strength':0.75}")
                    .formatted(image, Serving.png(mask))));
    BufferedImage wanted =
        pipe.draw(
            APPLE.withLongPrompts(true).withImage(Serving.picture(image), 0.75).withMask(mask));
    assertThat(distance(Serving.picture(inpainted.at("/images/0").asText()), wanted))
        .isLessThanOrEqualTo(2);
    byte[] file = Base64.getDecoder().decode(inpainted.at("/images/0").asText());
    assertThat(PngText.read(file)).containsEntry("strength", "0.75").containsEntry("mask", "true");
  }
}
