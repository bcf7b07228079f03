package org.perflow.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Modules and numbers of resources/torchscript/export.py. */
class TorchScriptTest {
  private static final Path FOLDER = Path.of("src/test/resources/torchscript");

  @Test
  void computesWhatPyTorchDid() throws IOException {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        TorchScript module = TorchScript.load(FOLDER.resolve("layers.pt"))) {
      Tensor output = module.forward(input());
      assertThat(output.shape()).containsExactly(1, 4);
      assertThat(output.toFloatArray()) // saved in training mode, whose dropout would show
          .containsExactly(
              new float[] {0.302224338f, 0.597535372f, 0.167749673f, 0.298285156f}, within(1e-6f));
    }
  }

  @Test
  void aSubmoduleRunsByItself() throws IOException {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        TorchScript module = TorchScript.load(FOLDER.resolve("layers.pt"));
        TorchScript plain = TorchScript.load(FOLDER.resolve("plain.pt"))) {
      assertThat(module.hasChild("layers")).isTrue();
      assertThat(plain.hasChild("layers")).isFalse();
      float[] half = module.forward("layers", input()).contiguous().toFloatArray();
      assertThat(half).isEqualTo(plain.forward(input()).contiguous().toFloatArray());
      assertThat(half[0]).isCloseTo(0.302224338f / 2, within(1e-6f));
    }
  }

  @Test
  void outlivesTheScopeItWasLoadedInAndLeavesNothingBehind() throws IOException {
    long before = Scope.liveObjects();
    for (int i = 0; i < 5; i++) {
      TorchScript module;
      try (Scope scope = Scope.open()) {
        module = TorchScript.load(FOLDER.resolve("plain.pt"));
      }
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        assertThat(module.forward(input()).isFinite()).isTrue();
      }
      module.close();
    }
    assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);
  }

  @Test
  void otherFilesAndOtherTensorsAreRefused(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("weights.pt");
    Files.writeString(file, "no module");
    assertThatThrownBy(() -> TorchScript.load(file))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("weights.pt is no TorchScript module")
        .hasMessageContaining("torch.jit.trace");
    assertThatThrownBy(() -> TorchScript.load(folder.resolve("none.pt")))
        .hasMessageContaining("no such TorchScript file");
    try (Scope scope = Scope.open();
        TorchScript module = TorchScript.load(FOLDER.resolve("plain.pt"))) {
      assertThatThrownBy(() -> module.forward(Tensor.full(1, 1, 5, 3, 3)))
          .hasMessageContaining("plain.pt does not take")
          .hasMessageContaining("[1, 5, 3, 3]");
    }
  }

  /** sin(0.37 i) in [1, 3, 5, 5]. */
  private static Tensor input() {
    return Tensor.arange(75).to(DType.F32).mul(0.37).sin().reshape(1, 3, 5, 5);
  }
}
