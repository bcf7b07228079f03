package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.io.Sample;
import org.perflow.io.ShardWriter;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** A tiny teacher accelerated as a LoRA, and its student as delta, folder and LoRA again. */
class AcceleratorFilesTest {
  private static final Path TEACHER = Path.of("../models/src/test/resources/golden/models/sd15");

  @TempDir Path temp;

  private String shard() throws IOException {
    Path shard = temp.resolve("train-0.tar");
    try (ShardWriter writer = new ShardWriter(shard)) {
      for (int i = 0; i < 4; i++) {
        BufferedImage image = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
        image.setRGB(4 * i, 8, 0xff8800);
        ByteArrayOutputStream png = new ByteArrayOutputStream();
        ImageIO.write(image, "png", png);
        ObjectNode none = Json.MAPPER.createObjectNode();
        writer.write(new Sample("", "p" + i, png.toByteArray(), "picture " + i, none));
      }
      writer.finish();
    }
    return shard.toString();
  }

  private static JsonNode run(String... args) throws IOException {
    Commands result = Commands.run(args);
    assertThat(result.exitCode()).as(result.err()).isEqualTo(0);
    return Json.MAPPER.readTree(result.out());
  }

  @Test
  void aStudentTrainedAsLoraIsADeltaAndAFolder() throws Exception {
    String run = temp.resolve("run").toString();
    JsonNode trained =
        run(
            "accelerate",
            "--json",
            "--teacher=" + TEACHER,
            "--data=" + shard(),
            "--out=" + run,
            "--lora-rank=2",
            "--steps=3",
            "--batch=2",
            "--warmup=0",
            "--solving-steps=1",
            "--learning-rate=1e-2",
            "--ema=0",
            "--compute=float32",
            "--save-dtype=float32");
    assertThat(trained.path("loras")).hasSize(2);
    String delta = temp.resolve("run/student/delta.safetensors").toString();
    JsonNode about = run("delta", "inspect", "--json", delta);
    assertThat(about.at("/about/basePrediction").asText()).isEqualTo("epsilon");
    assertThat(about.at("/about/scheduler/prediction_type").asText()).isEqualTo("ddim_eps");
    assertThat(about.path("norm").asDouble()).isPositive();

    // at the rank that it was trained with, nothing is lost
    String lora = temp.resolve("lora.safetensors").toString();
    JsonNode energy =
        run("delta", "to-lora", delta, "--rank=2", "--dtype=float32", "--out", lora, "--json");
    assertThat(energy.at("/energy/kept").asDouble()).isGreaterThan(0.9999);

    String mean = temp.resolve("mean.safetensors").toString();
    run("delta", "mean", delta, delta, "--out=" + mean, "--json"); // of a run with itself
    String folder = temp.resolve("fast").toString();
    run("delta", "apply", "--json", "--base=" + TEACHER, "--delta=" + mean, "--out=" + folder);
    String half = temp.resolve("half.safetensors").toString();
    run("delta", "scale", delta, "--by=0.5", "--out=" + half, "--json");
    String back = temp.resolve("back.safetensors").toString();
    run("delta", "unapply", "--json", "--student=" + folder, "--delta=" + delta, "--out=" + back);

    // the folder, and the teacher with any of the LoRA files, draw the same picture
    int[] expected = draw(temp.resolve("run/student").toString());
    assertThat(draw(folder)).isEqualTo(expected);
    for (JsonNode file : trained.path("loras")) {
      assertNear(draw(TEACHER.toString(), "--lora", file.asText()), expected);
    }
    assertNear(draw(TEACHER.toString(), "--lora", lora + ":1.0"), expected);
    Commands same = generate(folder, "--lora", lora + ":0"); // none of it
    assertThat(same.exitCode()).as(same.err()).isEqualTo(0);
  }

  /** A delta of two plain models, fine-tuning say, tells its sampler and imposes none. */
  @Test
  void aLoraThatIsNoAcceleratorKeepsTheSampler() throws Exception {
    String run = temp.resolve("tuned").toString();
    Path tuned = Files.createDirectories(temp.resolve("tuned/unet"));
    Files.createDirectories(temp.resolve("tuned/scheduler"));
    Files.copy(
        TEACHER.resolve("scheduler/scheduler_config.json"),
        temp.resolve("tuned/scheduler/scheduler_config.json"));
    String weights = "diffusion_pytorch_model.safetensors";
    try (SafetensorsFile file = SafetensorsFile.open(TEACHER.resolve("unet").resolve(weights));
        Scope scope = Scope.open()) {
      Map<String, Tensor> all = new LinkedHashMap<>();
      for (String name : file.entries().keySet()) {
        all.put(name, file.read(name).mul(name.equals("conv_in.weight") ? 1.1 : 1));
      }
      SafetensorsWriter.write(tuned.resolve(weights), all, Map.of());
    }
    String delta = temp.resolve("tuned.safetensors").toString();
    run("delta", "extract", "--json", "--base=" + TEACHER, "--student=" + run, "--out=" + delta);
    assertThat(Commands.run("delta", "inspect", delta).out())
        .contains("sampler    DDIMScheduler, of a teacher that predicts epsilon");
    String lora = temp.resolve("tuned-lora.safetensors").toString();
    run("delta", "to-lora", delta, "--rank=2", "--out", lora, "--json");
    Commands drawn = generate(TEACHER.toString(), "--lora", lora, "--steps=1");
    assertThat(drawn.exitCode()).as(drawn.err()).isEqualTo(0);
    assertThat(drawn.err()).doesNotContain("sampled as the LoRA says");
  }

  private Commands generate(String model, String... more) {
    String[] args = {
      "generate",
      "--json",
      "--model",
      model,
      "--prompt=x",
      "--out=" + temp.resolve("p.png"),
      "--guidance=1",
      "--width=32",
      "--height=32"
    };
    String[] all = Arrays.copyOf(args, args.length + more.length);
    System.arraycopy(more, 0, all, args.length, more.length);
    return Commands.run(all);
  }

  private int[] draw(String model, String... more) throws IOException {
    Commands result = generate(model, more);
    assertThat(result.exitCode()).as(result.err()).isEqualTo(0);
    BufferedImage image = ImageIO.read(temp.resolve("p.png").toFile());
    return image.getRGB(0, 0, image.getWidth(), image.getHeight(), null, 0, image.getWidth());
  }

  /** Within 2 of 255 in each colour. */
  private static void assertNear(int[] got, int[] expected) {
    assertThat(got).hasSameSizeAs(expected);
    for (int i = 0; i < got.length; i++) {
      for (int shift = 0; shift <= 16; shift += 8) {
        assertThat(got[i] >> shift & 255)
            .isBetween((expected[i] >> shift & 255) - 2, (expected[i] >> shift & 255) + 2);
      }
    }
  }

  @Test
  void badLorasAndDeltasAreOneLine() throws Exception {
    Path unet = TEACHER.resolve("unet/diffusion_pytorch_model.safetensors");
    Commands result = generate(TEACHER.toString(), "--lora", unet.toString());
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains(unet.toString(), "is no LoRA").hasLineCount(1);
    result = generate(TEACHER.toString(), "--lora", unet + ":much");
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains("expected FILE or FILE:WEIGHT").hasLineCount(1);
    result =
        Commands.run(
            "delta", "apply", "--base=" + TEACHER, "--delta=" + unet, "--out=x.safetensors");
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains("is a complete network and no delta");
  }

  @Test
  void theTeacherDecidesTheParameterisation() throws Exception {
    Path teacher = temp.resolve("teacher");
    try (DiffusionModel model = DiffusionModel.load(TEACHER, DType.F32)) {
      model
          .withScheduler(model.schedulerConfig().put("prediction_type", "v_prediction"))
          .save(teacher, DType.F32, Map.of());
    }
    String[] args = {
      "accelerate", "--dry-run", "--teacher=" + teacher, "--data=" + shard(), "--out=x"
    };
    assertThat(run(args).at("/perflow/parameterization").asText()).isEqualTo("VELOCITY");
    String[] wrong = Arrays.copyOf(args, args.length + 1);
    wrong[args.length] = "--parameterization=ddim-eps";
    Commands result = Commands.run(wrong);
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err())
        .contains("a teacher that predicts v_prediction is no start for", "use velocity")
        .hasLineCount(1);
    assertThat(Files.exists(Path.of("x"))).isFalse();
  }
}
