package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** Modules of the tensor module's resources/torchscript/export.py, which prints the numbers. */
class TorchScriptFeaturesTest {
  private static final Path FOLDER = Path.of("../tensor/src/test/resources/torchscript");

  @Test
  void feedsTheModuleAsCleanFidDoes() throws IOException {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Features plain = TorchScriptFeatures.load(FOLDER.resolve("plain.pt"));
        Features layers = TorchScriptFeatures.load(FOLDER.resolve("layers.pt"))) {
      Tensor waves = Tensor.arange(3 * 299 * 299).to(DType.F32).mul(0.0037).sin();
      Tensor pictures = waves.reshape(1, 3, 299, 299);
      Tensor features = plain.features(pictures); // of [1, 4, 1, 1]
      assertThat(features.shape()).containsExactly(1, 4);
      assertThat(features.toFloatArray())
          .containsExactly(
              new float[] {0.15034036f, 0.30621538f, 0.02104302f, 0.18702905f}, within(1e-5f));
      // of the other only its part "layers" runs, not the doubling that follows
      assertThat(layers.ofAnySize(pictures).toFloatArray()).isEqualTo(features.toFloatArray());
      assertThat(plain.ofAnySize(Tensor.full(0.5, 2, 3, 64, 48)).shape()).containsExactly(2, 4);
      assertThat(plain.name()).isEqualTo("plain");
      assertThat(plain.fingerprint()).isNotEqualTo(layers.fingerprint());
    }
  }
}
