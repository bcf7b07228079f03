package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.Sample;
import org.perflow.io.ShardWriter;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.TrainingCurve;

/** A tiny teacher, students of two steps of training each, and a fine-tune that they move to. */
class CompareCommandTest {
  private static final Path GOLDEN = Path.of("../models/src/test/resources/golden/models/sd15");
  private static final String UNET = "unet/diffusion_pytorch_model.safetensors";

  /** Its text encoder, VAE and noise are not the tiny teacher's, nor is its U-Net. */
  private static final Path FOREIGN = Path.of("../models/emoji-64-perflow");

  private static final String PLAN =
      """
      teacher: %s
      data: [%s]
      pictures: 6
      referenceSteps: 4
      guidance: 2
      steps: [1, 2]
      train: {steps: 2, batch: 2, warmup: 0, ema: 0, learningRate: 1.0e-2, compute: F32}
      entries:
        - {name: DDIM, sampler: ddim, steps: [1]}
        - {name: Reflow, method: reflow, options: {guidance: 2, pairs: 4, pairSteps: 2}}
        - {name: LCM, method: lcm, options: {guidance: 2, guidanceMin: 1, guidanceMax: 4}}
        - {name: PeRFlow, method: perflow, steps: [2], lora: {loraRank: 2}, options: {windows: 2, solvingSteps: 1}}
        - {name: Foreign, model: %s, sampler: unipc, steps: [2]}
      """;

  @TempDir Path temp;

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  @Test
  void methodsAreTrainedOnceMeasuredAndMovedToAFineTune() throws Exception {
    String transfer =
        "transfer: {data: [%s], train: {steps: 3, batch: 2, learningRate: 1.0e-2, compute: F32}}"
            .formatted(data("other", 0x2255ee));
    JsonNode result = compare(transfer);

    Path out = temp.resolve("out");
    JsonNode trained = result.path("training");
    assertThat(trained.at("/Reflow/preparation").asDouble()).isPositive(); // drew its pairs
    assertThat(trained.at("/LCM/preparation").asDouble()).isZero();
    assertThat(trained.at("/LCM/images").asLong()).isEqualTo(4);
    assertThat(TrainingCurve.read(out.resolve("lcm/training.csv"))).hasSize(2);
    assertThat(out.resolve("training-curves.svg")).isNotEmptyFile();
    assertThat(out.resolve("report.html"))
        .content()
        .contains("Preparing, s", "Training curves", "Transfer to another fine-tune", "no delta");

    moved(out.resolve("transfer"), result.path("transfer"));

    // everything is there: nothing is trained or drawn again
    Path student = out.resolve("reflow/student").resolve(UNET);
    Path model = out.resolve("transfer/model").resolve(UNET);
    var made = List.of(Files.getLastModifiedTime(student), Files.getLastModifiedTime(model));
    JsonNode again = compare(transfer);
    assertThat(List.of(Files.getLastModifiedTime(student), Files.getLastModifiedTime(model)))
        .isEqualTo(made);
    assertThat(again.path("transfer")).isEqualTo(result.path("transfer"));

    Commands other = run(transfer.replace("steps: 3", "steps: 4"));
    assertThat(other.exitCode()).isEqualTo(2);
    assertThat(other.err())
        .contains(
            "transfer/config.json was written with other settings", "train.steps (was 3, is 4)");
  }

  /** The fine-tune, what was added to it, and what was measured. */
  private static void moved(Path folder, JsonNode result) throws IOException {
    assertThat(maximum(folder.resolve("model/vae"), GOLDEN.resolve("vae"))).isZero();
    Path tuned = folder.resolve("model").resolve(UNET);
    assertThat(difference(tuned, GOLDEN.resolve(UNET), "conv_in.weight")).isGreaterThan(1e-3);
    assertThat(Json.read(folder.resolve("model/provenance.json")).at("/data/0/file").asText())
        .isEqualTo("train-0.tar");
    String attention = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight";
    for (String name : List.of("reflow", "lcm", "perflow")) { // sum - tuned = student - teacher
      Path student = folder.resolveSibling(name).resolve("student").resolve(UNET);
      Path sum = folder.resolve(name).resolve(UNET);
      double error = sumError(sum, tuned, student, attention); // of a LoRA's factors, too
      assertThat(error).as(name).isLessThan(4e-4); // float16, three times
    }
    // the guidance embedding of lcm is carried, and its own architecture
    try (SafetensorsFile sum = SafetensorsFile.open(folder.resolve("lcm").resolve(UNET))) {
      assertThat(sum.entries()).containsKey("time_embedding.cond_proj.weight");
    }
    assertThat(result.at("/withoutDelta/Foreign").asText()).contains("does not fit");
    assertThat(result.at("/withoutDelta")).hasSize(1);

    List<String> systems = new ArrayList<>();
    for (JsonNode row : result.at("/comparison/systems")) {
      systems.add(
          "%s %s/%s"
              .formatted(
                  row.path("system").asText(), row.path("steps"), row.path("networkEvaluations")));
    }
    assertThat(systems)
        .containsExactly(
            "Fine-tune, DDIM 4/8",
            "Fine-tune, DDIM 1/2", // as costly as two steps without guidance
            "Fine-tune, DDIM 2/4",
            "Reflow 1/1",
            "Reflow 2/2",
            "LCM 1/1",
            "LCM 2/2",
            "PeRFlow 2/4");
    assertThat(result.at("/comparison/systems/0/rmse/value").asDouble()).isZero();
    assertThat(result.at("/comparison/systems/1/rmse/value").asDouble()).isPositive();
  }

  @Test
  void aTransferSaysWhatItLacks() throws Exception {
    refused("transfer: {pictures: 8}", "model: FOLDER", "data: [FOLDER]");
    refused("transfer: {model: a, train: {steps: 5}}", "leave one of them out");
    refused("transfer: {model: a, picture: 8}", "picture");
    refused("transfer: {data: [missing-style], train: {steps: 5}}", "missing-style", "no such");
    refused("transfer: {data: [%s], train: {stepps: 5}}".formatted(data("other", 0)), "stepps");
    assertThat(temp.resolve("out")).doesNotExist();
  }

  private void refused(String transfer, String... words) throws IOException {
    Commands result = run(transfer);
    assertThat(result.exitCode()).as(result.err()).isEqualTo(2);
    assertThat(result.err()).contains(words).hasLineCount(1);
  }

  private JsonNode compare(String transfer) throws IOException {
    Commands result = run(transfer, "--json");
    assertThat(result.exitCode()).as(result.err()).isZero();
    return Json.MAPPER.readTree(result.out());
  }

  private Commands run(String transfer, String... more) throws IOException {
    Path plan =
        Files.writeString(
            temp.resolve("plan.yaml"),
            PLAN.formatted(teacher(), data("data", 0xff8800), FOREIGN) + transfer + "\n");
    List<String> args =
        new ArrayList<>(List.of("compare", plan.toString(), "--out=" + temp.resolve("out")));
    args.addAll(List.of(more));
    return Commands.run(args.toArray(String[]::new));
  }

  /** The tiny teacher, its timesteps spaced so that windows have edges among them. */
  private Path teacher() throws IOException {
    Path folder = temp.resolve("teacher");
    if (!Files.exists(folder)) {
      try (Stream<Path> files = Files.walk(GOLDEN)) {
        for (Path file : files.toList()) {
          Files.copy(file, folder.resolve(GOLDEN.relativize(file).toString()));
        }
      }
      Path scheduler = folder.resolve("scheduler/scheduler_config.json");
      ObjectNode config = (ObjectNode) Json.read(scheduler);
      Json.write(scheduler, config.put("timestep_spacing", "trailing"));
    }
    return folder;
  }

  /** Six pictures to learn from, and six captions held out. */
  private Path data(String name, int colour) throws IOException {
    Path folder = temp.resolve(name);
    if (!Files.exists(folder)) {
      Files.createDirectories(folder);
      shard(folder.resolve("train-0.tar"), colour, 0);
      shard(folder.resolve("test.tar"), colour, 6);
    }
    return folder;
  }

  private static void shard(Path file, int colour, int first) throws IOException {
    try (ShardWriter writer = new ShardWriter(file)) {
      for (int i = first; i < first + 6; i++) {
        BufferedImage image = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
        image.createGraphics().drawString("" + i, 4, 20);
        image.setRGB(i, 8, colour);
        ByteArrayOutputStream png = new ByteArrayOutputStream();
        ImageIO.write(image, "png", png);
        ObjectNode none = Json.MAPPER.createObjectNode();
        writer.write(new Sample("", "p" + i, png.toByteArray(), "picture " + i, none));
      }
      writer.finish();
    }
  }

  // ---------------------------------------------------------------- weights

  private static double sumError(Path sum, Path tuned, Path student, String weight)
      throws IOException {
    try (Scope scope = Scope.open()) {
      Tensor got = read(sum, weight).sub(read(tuned, weight));
      Tensor wanted = read(student, weight).sub(read(GOLDEN.resolve(UNET), weight));
      assertThat(wanted.abs().max().item()).as(weight).isGreaterThan(1e-3); // it did learn
      return got.sub(wanted).abs().max().item();
    }
  }

  private static double difference(Path one, Path two, String weight) throws IOException {
    try (Scope scope = Scope.open()) {
      return read(one, weight).sub(read(two, weight)).abs().max().item();
    }
  }

  /** Largest difference of any weight but for float16's rounding. */
  private static double maximum(Path one, Path two) throws IOException {
    String file = "diffusion_pytorch_model.safetensors";
    double largest = 0;
    try (SafetensorsFile all = SafetensorsFile.open(two.resolve(file));
        Scope scope = Scope.open()) {
      for (String name : all.entries().keySet()) {
        Tensor wanted = read(two.resolve(file), name).to(DType.F16).to(DType.F32);
        Tensor got = read(one.resolve(file), name);
        largest = Math.max(largest, got.sub(wanted).abs().max().item());
      }
    }
    return largest;
  }

  private static Tensor read(Path file, String name) throws IOException {
    try (SafetensorsFile weights = SafetensorsFile.open(file)) {
      return weights.read(name).to(DType.F32);
    }
  }
}
