package org.perflow.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class ComputeTest {
  /**
   * A convolution of another size, timed here, agrees with what was chosen where the gap is wide.
   */
  @Test
  void choosesTheTypeThatIsFasterHere() {
    double ratio = bestMillis(DType.BF16) / bestMillis(DType.F32);
    Compute chosen = Compute.AUTO.settled();

    assertThat(chosen).isNotEqualTo(Compute.AUTO);
    if (ratio > 2) {
      assertThat(chosen).isEqualTo(Compute.F32);
    } else if (ratio < 0.5) {
      assertThat(chosen).isEqualTo(Compute.BF16);
    }
    assertThat(Compute.AUTO.dtype()).isEqualTo(chosen.dtype());
    assertThat(ComputeProbe.here().toString()).contains(chosen.torchName());
  }

  private static double bestMillis(DType type) {
    double best = Double.POSITIVE_INFINITY;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(1)) {
      Tensor x = Tensor.randn(rng, 2, 96, 16, 16).channelsLast().to(type);
      Tensor weight = Tensor.randn(rng, 96, 96, 3, 3).to(type);
      for (int i = 0; i < 3; i++) {
        long start = System.nanoTime();
        Functional.conv2d(x, weight, null, 1, 1);
        best = Math.min(best, (System.nanoTime() - start) / 1e6);
      }
    }
    return best;
  }

  @Test
  void isFloat32WhereNeitherTypeIsMuchFaster() {
    assertThat(new ComputeProbe(10, 9.5).faster()).isEqualTo(DType.F32);
    assertThat(new ComputeProbe(10, 50).faster()).isEqualTo(DType.F32);
    assertThat(new ComputeProbe(10, 3).faster()).isEqualTo(DType.BF16);
  }

  @Test
  void obeysExplicitTypesByEachOfTheirNames() {
    assertThat(Compute.parse("auto")).isEqualTo(Compute.AUTO);
    assertThat(Compute.parse("float32")).isEqualTo(Compute.F32);
    assertThat(Compute.parse("bf16").dtype()).isEqualTo(DType.BF16);
    assertThatThrownBy(() -> Compute.parse("float16").dtype(Device.CPU))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("auto, float32 or bfloat16; got float16");
    assertThatThrownBy(() -> Compute.parse("int8"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("auto, float32, bfloat16 or, on a GPU, float16; got int8");
  }
}
