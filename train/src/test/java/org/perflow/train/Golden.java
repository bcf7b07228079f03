package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
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

  public static UNet2DConditionModel unet() throws java.io.IOException {
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
