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
    double ratio = ratio();
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

  /** How many times as long bfloat16 takes: in turn, the best of many, as others use the cores. */
  private static double ratio() {
    double single = Double.POSITIVE_INFINITY;
    double half = Double.POSITIVE_INFINITY;
    for (int i = 0; i < 30; i++) {
      single = Math.min(single, millis(DType.F32));
      half = Math.min(half, millis(DType.BF16));
    }
    return half / single;
  }

  private static double millis(DType type) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(1)) {
      Tensor x = Tensor.randn(rng, 2, 96, 16, 16).channelsLast().to(type);
      Tensor weight = Tensor.randn(rng, 96, 96, 3, 3).to(type);
      long start = System.nanoTime();
      Functional.conv2d(x, weight, null, 1, 1);
      return (System.nanoTime() - start) / 1e6;
    }
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
