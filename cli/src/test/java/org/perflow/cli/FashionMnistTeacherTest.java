package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.accelerate.Methods;
import org.perflow.compare.ComparePlan;
import org.perflow.distill.Method;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardWriter;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;

/** The committed shape without weights, and what pretrain makes of it. */
class FashionMnistTeacherTest {
  private static final Path SHAPE = Path.of("../docs/compare/fashion-mnist-32");

  @TempDir Path temp;

  private Path shard() throws IOException {
    Path shard = temp.resolve("train-0000.tar");
    try (ShardWriter writer = new ShardWriter(shard)) {
      for (int i = 0; i < 2; i++) {
        ByteArrayOutputStream png = new ByteArrayOutputStream();
        var picture = Images.resize(new BufferedImage(8, 8, BufferedImage.TYPE_INT_RGB), 32, 32);
        ImageIO.write(picture, "png", png);
        String caption = "picture of a sneaker, shoe";
        writer.write(
            new Sample("", "p" + i, png.toByteArray(), caption, Json.MAPPER.createObjectNode()));
      }
      writer.finish();
    }
    return shard;
  }

  private Commands pretrain(String... more) throws IOException {
    List<String> args =
        new ArrayList<>(List.of("pretrain", "--like=" + SHAPE, "--data=" + shard()));
    args.addAll(List.of("--out=" + temp.resolve("run"), "--steps=1", "--batch=2"));
    args.addAll(List.of(more));
    return Commands.run(args.toArray(String[]::new));
  }

  @Test
  void weightsAreDrawnForAShapeThatHasNone() throws IOException {
    Device.threads(1);
    Commands result = pretrain("--vae-steps=1");
    assertThat(result.exitCode()).as(result.err()).isZero();
    Path folder = temp.resolve("run/model");
    try (DiffusionModel model = DiffusionModel.load(folder, DType.F32);
        DiffusionModel shape = DiffusionModel.withoutWeights(SHAPE)) {
      assertThat(model.unet().config()).isEqualTo(shape.unet().config());
      assertThat(model.unet().parameterCount()).isBetween(1_500_000L, 2_500_000L);
      assertThat(model.schedulerConfig()).isEqualTo(shape.schedulerConfig());
      assertThat(model.tokenizer().tokens("picture of an ankle boot, shoe"))
          .hasSize(7); // one a word, as of CLIP's whole vocabulary, and the comma
      assertThat(model.vae().config().scalingFactor()).isNotEqualTo(1); // measured
    }
    assertThat(folder.resolve("provenance.json")).isNotEmptyFile();
  }

  /** As kill -9 leaves it: a checkpoint of the VAE, and nothing that comes after. */
  @Test
  void aRunThatWasCutOffInItsVaeGoesOnFromThere() throws IOException {
    Device.threads(1);
    String[] settings = {"--vae-steps=4", "--checkpoint-every=2"};
    Commands whole = pretrain(settings);
    assertThat(whole.exitCode()).as(whole.err()).isZero();
    Path vae = temp.resolve("run/vae/diffusion_pytorch_model.safetensors");
    byte[] weights = Files.readAllBytes(vae);
    Path checkpoints = temp.resolve("run/vae-run/checkpoints");
    try (var all = Files.list(checkpoints)) {
      assertThat(all.map(p -> p.getFileName().toString())).contains("step-00000002");
    }
    for (String lost : List.of("vae", "model", "cache", "checkpoints")) {
      delete(temp.resolve("run").resolve(lost));
    }
    delete(checkpoints.resolve("step-00000004"));
    Commands resumed = pretrain(settings[0], settings[1], "--resume");
    assertThat(resumed.exitCode()).as(resumed.err()).isZero();
    assertThat(vae).hasBinaryContent(weights);
    assertThat(temp.resolve("run/model/unet")).isNotEmptyDirectory();
  }

  private static void delete(Path folder) throws IOException {
    if (Files.exists(folder)) {
      try (var all = Files.walk(folder)) {
        for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
          Files.delete(path);
        }
      }
    }
  }

  @Test
  void thereIsNothingToKeepOfIt() throws IOException {
    for (String kept : List.of("--keep-vae", "--keep-weights")) {
      Commands result = pretrain(kept);
      assertThat(result.exitCode()).isEqualTo(2);
      assertThat(result.err().lines().filter(line -> !line.matches("memory:.*| {4}.*")))
          .singleElement()
          .asString()
          .contains(SHAPE.toString(), "is missing", "none can be kept");
    }
    assertThat(Files.exists(temp.resolve("run/model"))).isFalse();
  }

  @Test
  void theCommittedPlansHaveEveryMethod() throws IOException {
    for (String plan : List.of("emoji-64", "fashion-mnist")) {
      ComparePlan read = ComparePlan.read(Path.of("../docs/compare/" + plan + ".yaml"));
      assertThat(read.entries()).hasSize(plan.equals("emoji-64") ? 23 : 18);
      assertThat(read.entries().stream().map(ComparePlan.Entry::method))
          .containsAll(Methods.ALL.stream().map(Method::name).toList());
    }
  }
}
