package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import javax.imageio.ImageIO;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardWriter;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Tensor;

/** Files made with PyTorch, diffusers and the official PeRFlow code, and how close is close. */
public final class Golden {
  public static final Path STEPS = Path.of("src/test/resources/golden/perflow_training");

  /** A small diffusers folder, shared with the tests of the models module. */
  public static final Path FOLDER = Path.of("../models/src/test/resources/golden/models/sd15");

  private Golden() {}

  static {
    Device.threads(1); // these networks are too small to share out
  }

  /** Writes six captioned pictures of the folder's size. */
  public static Path shard(Path file) throws IOException {
    try (ShardWriter writer = new ShardWriter(file)) {
      for (int i = 0; i < 6; i++) {
        BufferedImage image = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
        Graphics2D graphics = image.createGraphics();
        graphics.setColor(Color.getHSBColor(i / 6f, 1, 1));
        graphics.fillOval(4, 4, 10 + 2 * i, 20);
        graphics.dispose();
        ByteArrayOutputStream png = new ByteArrayOutputStream();
        ImageIO.write(image, "png", png);
        String caption = "flat emoji of red apple, fruit, number " + i;
        writer.write(
            new Sample("", "p" + i, png.toByteArray(), caption, Json.MAPPER.createObjectNode()));
      }
      writer.finish();
    }
    return file;
  }

  public static UNet2DConditionModel unet() throws IOException {
    return UNet2DConditionModel.load(FOLDER.resolve("unet"), DType.F32);
  }

  /** Largest difference as a part of the largest magnitude. */
  public static double error(Tensor got, Tensor wanted) {
    return got.detach().sub(wanted).abs().max().item() / wanted.abs().max().item();
  }

  public static void assertClose(String name, Tensor got, Tensor wanted, double tolerance) {
    double error = error(got, wanted);
    System.out.printf("%-60s %.1e%n", name, error);
    assertThat(error).as(name).isLessThan(tolerance);
  }
}
