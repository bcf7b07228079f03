package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class BicubicResizeTest {
  /**
   * Of float32 pictures 0.8 sin(0.9 i + 0.4 j²/w): Image.fromarray(x, "F").resize((W, H),
   * Image.BICUBIC), Pillow 12.3; sum, and the first, second, middle and last values.
   */
  @ParameterizedTest
  @CsvSource({
    " 5,  7, 9, 11, 12.9978065, -0.0543247, -0.0388601, 0.5888889, -0.4189322",
    "12, 10, 5,  4,  0.6073942,  0.4899204,  0.6310147, 0.0188575, -0.4284762",
    " 4, 16, 8,  8,  7.8546257, -0.0467337,  0.0737776, 0.7943539,  0.7763060",
  })
  void agreesWithPillow(
      int h, int w, int toH, int toW, double sum, double a, double b, double middle, double z) {
    float[] wave = new float[h * w];
    for (int i = 0; i < h; i++) {
      for (int j = 0; j < w; j++) {
        wave[i * w + j] = (float) (Math.sin(0.9 * i + 0.4 * j * j / w) * 0.8);
      }
    }
    try (Scope scope = Scope.open()) {
      Tensor picture = Tensor.of(wave, 1, 1, h, w).expand(2, 3, h, w);
      Tensor resized = BicubicResize.resize(picture, toH, toW);
      assertThat(resized.shape()).containsExactly(2, 3, toH, toW);
      float[] values = resized.select(0, 1).select(0, 2).contiguous().toFloatArray();
      double total = 0;
      for (float value : values) {
        total += value;
      }
      assertThat(total).isCloseTo(sum, within(2e-5));
      assertThat(values[0]).isCloseTo((float) a, within(1e-6f));
      assertThat(values[1]).isCloseTo((float) b, within(1e-6f));
      assertThat(values[values.length / 2]).isCloseTo((float) middle, within(1e-6f));
      assertThat(values[values.length - 1]).isCloseTo((float) z, within(1e-6f));
    }
  }

  @Test
  void anOvershootIsHeldToTheRangeAndTheRightSizeIsLeftAlone() {
    try (Scope scope = Scope.open()) {
      Tensor edge = Tensor.of(new float[] {-1, -1, 1, 1}, 1, 1, 1, 4).expand(1, 3, 4, 4);
      Tensor larger = BicubicResize.resize(edge, 16, 16);
      assertThat(larger.max().item()).isEqualTo(1);
      assertThat(larger.min().item()).isEqualTo(-1);
      assertThat(BicubicResize.resize(edge, 4, 4)).isSameAs(edge);
    }
  }
}
