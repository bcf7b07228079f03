package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.core.JsonValue;
import com.openai.core.MultipartField;
import com.openai.core.http.StreamResponse;
import com.openai.errors.BadRequestException;
import com.openai.errors.UnauthorizedException;
import com.openai.models.images.ImageEditParams;
import com.openai.models.images.ImageGenStreamEvent;
import com.openai.models.images.ImageGenerateParams;
import com.openai.models.images.ImagesResponse;
import dev.langchain4j.data.image.Image;
import dev.langchain4j.model.ollama.OllamaImageModel;
import dev.langchain4j.model.openai.OpenAiImageModel;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.perflow.io.picture.PictureFormat;
import org.perflow.pipeline.Request;
import org.perflow.serve.Caller;
import org.perflow.serve.Job;
import org.perflow.serve.JobRequest;
import org.springframework.ai.image.ImagePrompt;
import org.springframework.ai.image.ImageResponse;
import org.springframework.ai.openai.OpenAiImageOptions;

/** Clients that people have, as they come from Maven Central, pointed at a server with a key. */
class ClientsTest {
  private static final String KEY = "0123456789abcdef0123456789abcdef";
  private static Serving serving;
  private static String url;

  @BeforeAll
  static void start() {
    serving = Serving.start(ServerOptions.of(Serving.engine()).withKeys(Map.of("test", KEY)));
    url = serving.server.url();
  }

  @AfterAll
  static void stop() {
    serving.close();
  }

  private static OpenAIClient openAi(String key) {
    return OpenAIOkHttpClient.builder().baseUrl(url + "v1").apiKey(key).build();
  }

  private static void assertPicture(String base64) throws Exception {
    BufferedImage picture = Serving.picture(base64);
    assertThat(picture.getWidth()).isEqualTo(64);
    assertThat(picture.getHeight()).isEqualTo(64);
  }

  @Test
  void openAiJavaGenerates() throws Exception {
    ImagesResponse answer =
        openAi(KEY)
            .images()
            .generate(
                ImageGenerateParams.builder()
                    .prompt("red apple")
                    .model("gpt-image-1-mini")
                    .n(2)
                    .putAdditionalBodyProperty("seed", JsonValue.from(7))
                    .build());
    assertThat(answer.data().orElseThrow()).hasSize(2);
    assertPicture(answer.data().orElseThrow().get(0).b64Json().orElseThrow());
    assertThat(answer.usage()).isPresent();
    assertThat(answer.outputFormat().orElseThrow()).isEqualTo(ImagesResponse.OutputFormat.PNG);
  }

  @Test
  void openAiJavaStreams() throws Exception {
    ImageGenerateParams params =
        ImageGenerateParams.builder().prompt("red apple").partialImages(2).build();
    try (StreamResponse<ImageGenStreamEvent> stream =
        openAi(KEY).images().generateStreaming(params)) {
      List<ImageGenStreamEvent> events = stream.stream().toList();
      assertThat(events).hasSize(3);
      assertThat(events.get(0).asGenerationPartialImage().partialImageIndex()).isZero();
      assertPicture(events.get(2).asGenerationCompleted().b64Json());
    }
  }

  @Test
  void openAiJavaEdits() throws Exception {
    byte[] disc = Base64.getDecoder().decode(Serving.disc(64));
    ImageEditParams.Image image =
        ImageEditParams.Image.ofInputStream(new ByteArrayInputStream(disc));
    ImagesResponse answer =
        openAi(KEY)
            .images()
            .edit(
                ImageEditParams.builder()
                    .image(
                        MultipartField.<ImageEditParams.Image>builder()
                            .value(image)
                            .filename("disc.png")
                            .contentType("image/png")
                            .build())
                    .prompt("green pear")
                    .build());
    assertPicture(answer.data().orElseThrow().get(0).b64Json().orElseThrow());
  }

  @Test
  void openAiJavaUnderstandsRefusals() {
    assertThatThrownBy(
            () ->
                openAi(KEY)
                    .images()
                    .generate(
                        ImageGenerateParams.builder()
                            .prompt("x")
                            .size(ImageGenerateParams.Size.of("100x100"))
                            .build()))
        .isInstanceOf(BadRequestException.class)
        .hasMessageContaining("multiples of 8");
    assertThatThrownBy(
            () ->
                openAi("wrong")
                    .images()
                    .generate(ImageGenerateParams.builder().prompt("x").build()))
        .isInstanceOf(UnauthorizedException.class);
    assertThat(openAi(KEY).models().list().data())
        .extracting(model -> model.id())
        .containsExactly(Serving.STUDENT, Serving.TEACHER);
  }

  /** A client that runs out of patience asks again, and finds its picture half done. */
  @Test
  @Tag("slow")
  void openAiJavaAsksAgainForTheSamePicture() throws Exception {
    var engine = serving.server.engine();
    JobRequest teachers =
        new JobRequest(
            Serving.TEACHER,
            Request.of("rocket").withSteps(150).withSize(128, 128),
            10,
            null,
            Map.of(),
            List.of(),
            PictureFormat.PNG,
            90);
    Job slow = engine.submit(teachers, new Caller("other", null, "slow", false));
    OpenAIClient impatient =
        OpenAIOkHttpClient.builder()
            .baseUrl(url + "v1")
            .apiKey(KEY)
            .timeout(Duration.ofMillis(1500))
            .maxRetries(2)
            .build();
    var params = ImageGenerateParams.builder().prompt("red apple").build();
    var answer = CompletableFuture.supplyAsync(() -> impatient.images().generate(params));
    serving.withKey(KEY);
    while (!serving.get("/metrics").body().contains("generations\",status=\"499\"")) {
      Thread.sleep(20);
    }
    Job waits = engine.unfinished().get(1);
    engine.cancel(slow, "enough");
    assertPicture(answer.get().data().orElseThrow().get(0).b64Json().orElseThrow());
    assertThat(waits.now().state()).isEqualTo(Job.State.DONE);
    assertThat(engine.unfinished()).isEmpty();
  }

  private static ImageResponse springAi(OpenAiImageOptions.Builder options) {
    var model =
        org.springframework.ai.openai.OpenAiImageModel.builder()
            .options(OpenAiImageOptions.builder().baseUrl(url + "v1").apiKey(KEY).build())
            .build();
    return model.call(new ImagePrompt("red apple", options.build()));
  }

  @Test
  void springAiDraws() throws Exception {
    ImageResponse answer = springAi(OpenAiImageOptions.builder().n(2).width(64).height(96));
    assertThat(answer.getResults()).hasSize(2);
    BufferedImage picture = Serving.picture(answer.getResult().getOutput().getB64Json());
    assertThat(picture.getWidth()).isEqualTo(64);
    assertThat(picture.getHeight()).isEqualTo(96);
  }

  @Test
  void springAiFetchesFromUrls() throws Exception {
    ImageResponse answer = springAi(OpenAiImageOptions.builder().responseFormat("url"));
    BufferedImage picture =
        ImageIO.read(URI.create(answer.getResult().getOutput().getUrl()).toURL());
    assertThat(picture.getWidth()).isEqualTo(64);
  }

  @Test
  void springAiUnderstandsRefusals() {
    assertThatThrownBy(() -> springAi(OpenAiImageOptions.builder().width(60).height(64)))
        .hasMessageContaining("multiples of 8");
  }

  @Test
  void langChain4jDraws() throws Exception {
    Image image =
        OpenAiImageModel.builder()
            .baseUrl(url + "v1")
            .apiKey(KEY)
            .modelName("dall-e-3")
            .build()
            .generate("red apple")
            .content();
    assertPicture(image.base64Data());
  }

  @Test
  void langChain4jDrawsAsFromOllama() throws Exception {
    Image image =
        OllamaImageModel.builder()
            .baseUrl(url)
            .modelName(Serving.STUDENT)
            .customHeaders(Map.of("Authorization", "Bearer " + KEY))
            .width(64)
            .height(64)
            .steps(4)
            .seed(7)
            .build()
            .generate("red apple")
            .content();
    assertPicture(image.base64Data());
  }
}
