package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardWriter;
import org.perflow.io.picture.PictureEncoder;
import org.perflow.io.picture.PictureFormat;

/** Models by name, from a hub that runs in a process of its own and serves those of the tests. */
@Timeout(300)
class ModelsCommandTest {
  private static final Path ROOT = Path.of("..").toAbsolutePath().normalize();
  private static final Path GOLDEN = ROOT.resolve("models/src/test/resources/golden/models");
  private static final String EMOJI = "tiny-org/emoji";

  @TempDir static Path shared;
  private static ServedModels server;

  @TempDir Path folder;

  @BeforeAll
  static void serve() throws IOException {
    Path lora = Files.createDirectories(shared.resolve("lora"));
    Files.writeString(lora.resolve("README.md"), "A LoRA.");
    server =
        ServedModels.of(
            EMOJI + "=" + ROOT.resolve("models/emoji-64-perflow"),
            "tiny-org/teacher=" + ROOT.resolve("models/emoji-64"),
            "tiny-org/sd15=" + GOLDEN.resolve("sd15"),
            "tiny-org/half=" + variantAlone(GOLDEN.resolve("sd15"), shared.resolve("half")),
            "tiny-org/control=" + GOLDEN.resolve("controlnet-sd15"),
            "tiny-org/readme=" + lora);
  }

  /** A copy whose weights are called fp16's, as many repositories have nothing else. */
  private static Path variantAlone(Path model, Path copy) throws IOException {
    try (Stream<Path> files = Files.walk(model)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        String name = model.relativize(file).toString();
        Path target = copy.resolve(name.replace(".safetensors", ".fp16.safetensors"));
        Files.createDirectories(target.getParent());
        Files.copy(file, target);
      }
    }
    return copy;
  }

  @AfterAll
  static void stop() {
    server.close();
  }

  @BeforeEach
  void environment() {
    System.setProperty("HF_ENDPOINT", server.endpoint());
    System.setProperty("HF_HUB_CACHE", shared.resolve("hub").toString());
  }

  @AfterEach
  void forget() {
    for (String name : List.of("HF_ENDPOINT", "HF_HUB_CACHE", "HF_HUB_OFFLINE")) {
      System.clearProperty(name);
    }
  }

  private Path generate(String model, String... more) {
    Path out = folder.resolve(model.replaceAll("\\W", "-") + ".png");
    List<String> all = new ArrayList<>(List.of("generate", "--model", model));
    all.addAll(List.of("--prompt", "red apple", "--dtype", "float32", "--out", out.toString()));
    all.addAll(List.of(more));
    Commands result = Commands.run(all.toArray(String[]::new));
    assertThat(result.exitCode()).as(result.err()).isZero();
    return out;
  }

  private static int[] pixels(Path file) throws IOException {
    BufferedImage picture = Images.read(file);
    return picture.getRGB(
        0, 0, picture.getWidth(), picture.getHeight(), null, 0, picture.getWidth());
  }

  @Test
  void aModelIsDrawnWithByItsName() throws IOException {
    Path fetched = generate(EMOJI + "@main");
    assertThat(Images.pngText(fetched).get("model")).matches(EMOJI + "@[0-9a-f]{12}");
    Path local = generate(ROOT.resolve("models/emoji-64-perflow").toString());
    assertThat(pixels(fetched)).isEqualTo(pixels(local));
    System.setProperty("HF_HUB_OFFLINE", "1");
    assertThat(pixels(generate(EMOJI))).isEqualTo(pixels(local));
  }

  private Path shard() throws IOException {
    Path file = folder.resolve("train-0.tar");
    byte[] png =
        PictureEncoder.encode(
            new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB),
            PictureFormat.PNG,
            100,
            Map.of());
    try (ShardWriter writer = new ShardWriter(file)) {
      for (int i = 0; i < 2; i++) {
        writer.write(new Sample("", "p" + i, png, "night", Json.MAPPER.createObjectNode()));
      }
      writer.finish();
    }
    return file;
  }

  @Test
  void aModelThatHasAVariantAloneIsDrawnWithAndLearntFrom() throws IOException {
    String[] small = {"--steps=2", "--width=32", "--height=32"};
    assertThat(pixels(generate("tiny-org/half", small)))
        .isEqualTo(pixels(generate("tiny-org/sd15", small)));
    Path out = folder.resolve("run");
    Commands made =
        Commands.run(
            "accelerate",
            "--teacher=tiny-org/half",
            "--data=" + shard(),
            "--steps=1",
            "--batch=2",
            "--solving-steps=1",
            "--evaluate=0",
            "--out=" + out);
    assertThat(made.exitCode()).as(made.err()).isZero();
    assertThat(out.resolve("student/delta.safetensors")).isNotEmptyFile();
  }

  @Test
  void soAreControlNets() throws IOException {
    Path in = folder.resolve("in.png");
    Images.writePng(in, new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB), Map.of());
    Path fetched =
        generate(
            "tiny-org/sd15",
            "--steps=2",
            "--width=32",
            "--height=32",
            "--controlnet=tiny-org/control",
            "--control-image=" + in);
    assertThat(Images.pngText(fetched).get("controlnet"))
        .matches("tiny-org/control@[0-9a-f]{12} \\(in.png.*");
  }

  /** Every command that takes a model, up to where it knows that it has it. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "accelerate --teacher tiny-org/teacher --dry-run --out %s",
        "accelerate --teacher tiny-org/teacher@main --start tiny-org/teacher --dry-run --out %s",
        "pretrain --like tiny-org/teacher --dry-run --out %s",
        "inspect tiny-org/teacher:unet",
        "convert tiny-org/teacher %s/one.safetensors",
        "delta extract --base tiny-org/teacher --student tiny-org/emoji --out %s/d.safetensors",
      })
  void everyCommandTakesNames(String line) {
    Commands result = Commands.run(line.formatted(folder).split(" "));
    assertThat(result.exitCode()).as(result.err()).isZero();
  }

  @Test
  void whatIsFetchedIsListedAndRemoved() throws IOException {
    System.setProperty("HF_HUB_CACHE", folder.resolve("hub").toString());
    JsonNode fetched = json("models", "fetch", "tiny-org/teacher:unet", EMOJI, "--json");
    Path unet = Path.of(fetched.path(0).path("path").asText());
    assertThat(unet.resolve("diffusion_pytorch_model.safetensors")).exists();
    JsonNode listed = json("models", "list", "--json");
    assertThat(listed.path("models").findValuesAsText("repository"))
        .containsExactly(EMOJI, "tiny-org/teacher");
    assertThat(listed.path("bytes").asLong()).isBetween(20_000_000L, 40_000_000L);
    assertThat(Commands.run("models", "list").out())
        .containsPattern("MB  " + EMOJI)
        .containsPattern("[0-9a-f]{12} main, \\d+ files");
    Commands removed = Commands.run("models", "rm", EMOJI);
    assertThat(removed.out()).startsWith("removed " + EMOJI + ": 18 MB in ");
    assertThat(json("models", "list", "--json").path("models")).hasSize(1);
    assertThat(Commands.run("models", "rm", EMOJI).exitCode()).isEqualTo(Main.BAD_INPUT);
  }

  private static JsonNode json(String... args) throws IOException {
    Commands result = Commands.run(args);
    assertThat(result.exitCode()).as(result.err()).isZero();
    return Json.MAPPER.readTree(result.out());
  }

  @Test
  void whatCannotBeHadIsOneLine() {
    assertBad("tiny-org/none is not on the hub", "tiny-org/none");
    assertBad("no branch, tag or commit v3", EMOJI + "@v3");
    assertBad("holds no model that is read here; it has README.md", "tiny-org/readme");
    System.setProperty("HF_HUB_OFFLINE", "1");
    assertBad("HF_HUB_OFFLINE", "tiny-org/control:nothing");
  }

  private static void assertBad(String message, String model) {
    Commands result = Commands.run("inspect", model);
    assertThat(result.exitCode()).isEqualTo(Main.BAD_INPUT);
    assertThat(result.err()).contains(message).hasLineCount(1);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "org/style:a.safetensors = org/style:a.safetensors 1.0",
        "org/style:a.safetensors:0.5 = org/style:a.safetensors 0.5",
        "org/style:0.5 = org/style 0.5",
        "my/style.safetensors:0.5 = my/style.safetensors 0.5",
        "style.safetensors = style.safetensors 1.0",
      })
  void aLoraIsAFileOrANameAndAWeight(String line) {
    LoraArgument lora = LoraArgument.parse(line.split(" = ")[0]);
    assertThat(lora.file() + " " + lora.weight()).isEqualTo(line.split(" = ")[1]);
  }
}
