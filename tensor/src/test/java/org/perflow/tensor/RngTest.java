package org.perflow.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class RngTest {
  /**
   * First eight of {@code torch.randn(8, generator=torch.Generator().manual_seed(42))}, torch 2.13.
   */
  private static final float[] SHORT_42 = {
    0.33669037f,
    0.12880941f,
    0.23446237f,
    0.23033303f,
    -1.1228564f,
    -0.18632829f,
    2.2082014f,
    -0.63799703f
  };

  /**
   * Same seed, 16 and more draws take PyTorch's vectorised path: first eight of {@code randn(64)}.
   */
  private static final float[] LONG_42 = {
    1.9269153f,
    1.4872841f,
    0.9007172f,
    -2.105521f,
    0.67841846f,
    -1.2345449f,
    -0.043067478f,
    -1.6046669f
  };

  @Test
  void drawsWhatPyTorchDraws() {
    assertClose(Tensor.randn(Rng.seeded(42), 8).toFloatArray(), SHORT_42);
    assertClose(Tensor.randn(Rng.seeded(42), 64).narrow(0, 0, 8).toFloatArray(), LONG_42);
  }

  @Test
  void goesOnFromASavedState() {
    Rng rng = Rng.seeded(7);
    Tensor.randn(rng, 5);
    byte[] state = rng.state();
    float[] first = Tensor.rand(rng, 33).toFloatArray();
    rng.restore(state);
    assertThat(Tensor.rand(rng, 33).toFloatArray()).containsExactly(first);
  }

  private static void assertClose(float[] actual, float[] expected) {
    for (int i = 0; i < expected.length; i++) {
      assertThat(actual[i]).isCloseTo(expected[i], within(1e-6f));
    }
  }
}
