package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.Color;
import java.awt.GradientPaint;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.io.picture.PictureEncoder;
import org.perflow.io.picture.PictureFormat;
import org.perflow.models.AutoencoderKL;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.UNetConfig;
import org.perflow.models.VaeConfig;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;

/**
 * Every command of docs/your-own-model.md: a folder of photographs, models that a hub serves under
 * the names that the page says, of the published pictures' sizes and hardly any weights.
 */
class YourOwnModelTest {
  private static final Path GOLDEN = Path.of("../models/src/test/resources/golden/models");
  private static final List<String> SHORT =
      List.of("--steps=2", "--batch=2", "--accumulate=1", "--warmup=0", "--solving-steps=1");

  @TempDir Path folder;
  private ServedModels hub;

  @BeforeEach
  void serve() throws IOException {
    Path sd15 = model("sd15", 8);
    Path sdxl = model("sdxl", 16);
    hub =
        ServedModels.of(
            "stable-diffusion-v1-5/stable-diffusion-v1-5=" + sd15,
            "stabilityai/stable-diffusion-xl-base-1.0=" + sdxl);
    System.setProperty("HF_ENDPOINT", hub.endpoint());
    System.setProperty("HF_HUB_CACHE", folder.resolve("hub").toString());
    photos(folder.resolve("my-photos"));
  }

  @AfterEach
  void forget() {
    hub.close();
    System.clearProperty("HF_ENDPOINT");
    System.clearProperty("HF_HUB_CACHE");
  }

  /** With an autoencoder that makes 8 × 8 latents of 512 × 512 pixels, so that all is quick. */
  private Path model(String golden, int latent) throws IOException {
    Path source = GOLDEN.resolve(golden);
    ObjectNode shape = Json.readObject(source.resolve("unet/config.json"));
    shape.put("sample_size", latent);
    Path made = folder.resolve("served/" + golden);
    try (DiffusionModel whole = DiffusionModel.load(source, DType.F32);
        UNet2DConditionModel unet = new UNet2DConditionModel(UNetConfig.of(shape));
        AutoencoderKL vae = new AutoencoderKL(tiny());
        Rng rng = Rng.seeded(0)) {
      unet.copyFrom(whole.unet(), DType.F32);
      vae.initialise(rng, DType.F32);
      whole.withUnet(unet).withVae(vae).save(made, DType.F16, Map.of());
    }
    return made;
  }

  private static VaeConfig tiny() {
    return new VaeConfig(
        512, 3, 3, 4, Collections.nCopies(7, 8), 1, 8, 0.18215, null, false, true, true, true);
  }

  private static void photos(Path to) throws IOException {
    Files.createDirectories(to);
    for (int i = 0; i < 10; i++) {
      BufferedImage photo = photo(i);
      PictureFormat format =
          i < 6 ? PictureFormat.JPEG : i < 8 ? PictureFormat.PNG : PictureFormat.WEBP;
      byte[] file = PictureEncoder.encode(photo, format, 90, Map.of());
      String ending = format == PictureFormat.JPEG ? "jpg" : format.name().toLowerCase(Locale.ROOT);
      Files.write(to.resolve("p%d.%s".formatted(i, ending)), i == 0 ? turned(file) : file);
      Files.writeString(to.resolve("p%d.txt".formatted(i)), "photo of subject " + i);
    }
    Files.writeString(to.resolve("broken.jpg"), "no picture");
    Files.writeString(to.resolve("broken.txt"), "it cannot be read");
  }

  private static BufferedImage photo(int seed) {
    BufferedImage photo = new BufferedImage(1200, 1100, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = photo.createGraphics();
    Color one = Color.getHSBColor(seed / 10f, 0.8f, 0.9f);
    graphics.setPaint(new GradientPaint(0, 0, one, 1200, 1100, Color.WHITE));
    graphics.fillRect(0, 0, 1200, 1100);
    graphics.setColor(Color.BLACK);
    graphics.fillOval(100 * seed, 200, 300, 300 + 50 * seed);
    graphics.dispose();
    return photo;
  }

  /** As a camera held sideways writes it: EXIF's orientation 6 behind the first marker. */
  private static byte[] turned(byte[] jpeg) {
    ByteBuffer exif = ByteBuffer.allocate(32).order(ByteOrder.LITTLE_ENDIAN);
    exif.put("Exif\0\0II*\0".getBytes(StandardCharsets.ISO_8859_1)).putInt(8);
    exif.putShort((short) 1).putShort((short) 0x0112).putShort((short) 3).putInt(1);
    exif.putInt(6).putInt(0);
    ByteBuffer all = ByteBuffer.allocate(jpeg.length + 36);
    all.put(jpeg, 0, 2).putShort((short) 0xFFE1).putShort((short) 34).put(exif.array());
    return all.put(jpeg, 2, jpeg.length - 2).array();
  }

  /** The page's lines, in order. */
  private static List<String> page() throws IOException {
    return Files.readAllLines(Path.of("../docs/your-own-model.md")).stream()
        .filter(line -> line.startsWith("    ./perflow "))
        .map(line -> line.strip().substring("./perflow ".length()))
        .toList();
  }

  /** Words of a line, quoted ones whole; a user's own files lie in the test's folder. */
  private List<String> words(String line) {
    List<String> words = new ArrayList<>();
    for (String word : line.split(" (?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)")) {
      String plain = word.replace("\"", "");
      boolean own = plain.matches("my-photos|(data|runs)/.*|.*\\.(png|safetensors)");
      words.add(own ? folder.resolve(plain).toString() : plain);
    }
    return words;
  }

  private Commands run(List<String> words) {
    Commands result = Commands.run(words.toArray(String[]::new));
    assertThat(result.exitCode()).as(words + "\n" + result.err()).isZero();
    return result;
  }

  /** In two steps of training: by far the longest is what is drawn. */
  @Test
  @Timeout(300)
  void theFirstThreeCommandsAndTheCardWorkWithFewSteps() throws IOException {
    List<String> page = page();
    for (String line : page.subList(0, 3)) {
      List<String> words = words(line);
      if (words.get(0).equals("accelerate")) {
        words.addAll(SHORT);
        words.add("--evaluate=0");
      }
      run(words);
    }
    assertLaysOutAsDiffusersDoes(folder.resolve("runs/mine/student"));
    run(
        words(
            page.stream().filter(line -> line.contains("publish-card")).findFirst().orElseThrow()));
    assertThat(folder.resolve("runs/mine/student/README.md"))
        .content()
        .contains("base_model: stable-diffusion-v1-5/stable-diffusion-v1-5");
    Commands plan =
        run(
            words(
                page.stream()
                    .filter(line -> line.endsWith("--dry-run"))
                    .findFirst()
                    .orElseThrow()));
    assertThat(plan.err()).contains("memory: ", "activations of a batch of 32");
  }

  @Test
  @Tag("slow")
  @Timeout(3600)
  void everyCommandOfThePageWorks() throws IOException {
    List<String> page = page();
    assertThat(page).hasSizeGreaterThanOrEqualTo(12);
    for (String line : page) {
      List<String> words = words(line);
      if (words.get(0).equals("accelerate")) {
        words.addAll(SHORT);
      }
      Commands result = run(words);
      if (line.startsWith("data import my-photos --out")) {
        assertThat(result.out()).contains("broken.jpg").contains("held out");
      }
      if (line.endsWith("--dry-run")) {
        assertThat(result.err()).contains("memory: ", "activations of a batch of 2");
      }
    }
    Path student = folder.resolve("runs/mine/student");
    assertLaysOutAsDiffusersDoes(student);
    assertThat(Images.read(folder.resolve("apple.png")).getWidth()).isEqualTo(512);
    assertThat(Images.read(folder.resolve("xl.png")).getWidth()).isEqualTo(1024);
    assertThat(folder.resolve("runs/lora/lora-peft.safetensors")).isNotEmptyFile();
    assertThat(folder.resolve("runs/mine/README.md"))
        .content()
        .contains("perflow accelerate --teacher stable-diffusion-v1-5", "What was bought");
    assertThat(student.resolve("README.md"))
        .content()
        .contains("license: creativeml-openrail-m")
        .contains("base_model: stable-diffusion-v1-5/stable-diffusion-v1-5");
  }

  /** The files that diffusers' {@code from_pretrained} reads, by the index that it begins with. */
  private static void assertLaysOutAsDiffusersDoes(Path student) throws IOException {
    JsonNode index = Json.read(student.resolve("model_index.json"));
    assertThat(index.path("_class_name").asText()).isEqualTo("StableDiffusionPipeline");
    for (String part : List.of("unet", "vae", "text_encoder", "tokenizer", "scheduler")) {
      assertThat(index.path(part)).as(part).hasSize(2);
      assertThat(student.resolve(part)).isDirectory();
    }
    assertThat(student.resolve("unet/diffusion_pytorch_model.safetensors")).isNotEmptyFile();
    assertThat(student.resolve("vae/diffusion_pytorch_model.safetensors")).isNotEmptyFile();
    assertThat(student.resolve("text_encoder/model.safetensors")).isNotEmptyFile();
    assertThat(student.resolve("tokenizer/merges.txt")).isNotEmptyFile();
    assertThat(index.path("scheduler").path(1).asText()).isEqualTo("DDIMScheduler");
  }

  /** A thousand steps and all: the three commands to the letter. */
  @Test
  @Tag("slow")
  @Timeout(3600)
  void theFirstThreeCommandsWorkAsTheyStand() throws IOException {
    for (String line : page().subList(0, 3)) {
      run(words(line));
    }
    assertLaysOutAsDiffusersDoes(folder.resolve("runs/mine/student"));
    assertThat(folder.resolve("apple.png")).isNotEmptyFile();
  }
}
