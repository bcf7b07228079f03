package org.perflow.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** bfloat16 against float32, whatever the sizes: kernels pair elements, and odd ones are left. */
class FunctionalTest {
  private static final double ROUNDING = 0.01; // bfloat16 has 8 bits: 2⁻⁸ for each factor

  @ParameterizedTest
  @CsvSource({"16, 1, 3", "16, 3, 3", "32, 5, 1", "3, 7, 3", "8, 4, 3", "5, 16, 1"})
  void convolutionsHaveTheSameGradients(int in, int out, int kernel) {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0)) {
      Tensor x = bfloat16(rng, 4, in, 8, 8).channelsLast();
      Tensor weight = bfloat16(rng, out, in, kernel, kernel);
      Tensor bias = bfloat16(rng, out);
      assertSameGradients(
          rng, x, t -> Functional.conv2d(t, weight, bias, 1, kernel / 2), weight, bias);
      assertSameGradients(rng, x, t -> Functional.conv2d(t, weight, null, 1, kernel / 2), weight);
    }
  }

  /** Of these widths oneDNN would end the process, as those have found whose CPU has AVX-512. */
  @ParameterizedTest
  @CsvSource({"1024, 512", "1024, 2048", "512, 1024", "512, 2048", "256, 1024"})
  void convolutionsOfSinglePixelsAreThoseOfTheirMiddles(int in, int out) {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0);
        NoGrad guard = NoGrad.enter()) {
      Tensor x = Tensor.randn(rng, 1, in, 8, 8).channelsLast();
      Tensor weight = Tensor.randn(rng, out, in, 1, 1);
      Tensor bias = Tensor.randn(rng, out);
      Tensor wide = Tensor.zeros(DType.F32, out, in, 3, 3);
      wide.narrow(2, 1, 1).narrow(3, 1, 1).copyInPlace(weight);
      Tensor expected = Functional.conv2d(x, wide, bias, 1, 1);
      Tensor single = Functional.conv2d(x, weight, bias, 1, 0);
      assertThat(single.shape()).containsExactly(1, out, 8, 8);
      assertThat(single.sub(expected).abs().max().item()).isLessThan(1e-5 * in);
    }
  }

  @ParameterizedTest
  @CsvSource({"16, 1", "7, 3", "33, 5", "64, 64"})
  void linearLayersHaveTheSameGradients(int in, int out) {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0)) {
      Tensor weight = bfloat16(rng, out, in);
      Tensor bias = bfloat16(rng, out);
      assertSameGradients(
          rng, bfloat16(rng, 5, 9, in), t -> Functional.linear(t, weight, bias), weight, bias);
    }
  }

  /** Drawing multiplies by another library than training; both give the same products. */
  @ParameterizedTest
  @CsvSource({"1, 1, 1", "1, 16, 5", "9, 33, 7", "154, 768, 320", "70, 64, 512"})
  void linearLayersGiveTheSameWithoutGradients(int rows, int in, int out) {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0)) {
      Tensor weight = Tensor.randn(rng, out, in).requiresGrad(true);
      Tensor bias = Tensor.randn(rng, out);
      Tensor x = Tensor.randn(rng, rows, in, 2).transpose(1, 2); // not contiguous
      for (Tensor shift : new Tensor[] {bias, null}) {
        Tensor recorded = Functional.linear(x, weight, shift);
        try (NoGrad guard = NoGrad.enter()) {
          Tensor drawn = Functional.linear(x, weight, shift);
          assertThat(drawn.shape()).containsExactly(rows, 2, out);
          assertThat(drawn.sub(recorded).abs().max().item()).isLessThan(1e-5 * in);
        }
      }
    }
  }

  /** A comparison that never held once sent all of them the slow way, and no result told. */
  @Test
  void float32GoesToOneDnnWhileDrawingAlone() {
    assumeTrue(torch.hasMKLDNN() && System.getProperty("os.arch").equals("amd64"), "no oneDNN");
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0)) {
      Tensor x = Tensor.randn(rng, 3, 4);
      Tensor weight = Tensor.randn(rng, 8, 4);
      assertThat(OneDnn.multiplies(x.raw, weight.raw)).as("while gradients are recorded").isFalse();
      try (NoGrad guard = NoGrad.enter()) {
        assertThat(OneDnn.multiplies(x.raw, weight.raw)).isTrue();
        assertThat(OneDnn.multiplies(x.to(DType.BF16).raw, weight.raw)).isFalse();
        assertThat(OneDnn.multiplies(x.raw, weight.to(DType.BF16).raw)).isFalse();
        assertThat(
                PackedFilters.suit(
                    Tensor.randn(rng, 1, 4, 8, 8), DType.F32, new long[] {8, 4, 3, 3}))
            .isTrue();
      }
    }
  }

  @Test
  void productsWithoutGradientsLeaveNothingBehind() {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(0)) {
      Tensor weight = Tensor.randn(rng, 8, 4);
      Tensor x = Tensor.randn(rng, 3, 4);
      long before = 0;
      for (int i = 0; i < 300; i++) {
        try (Scope step = Scope.open()) {
          Functional.linear(x, weight, null);
        }
        before = i == 99 ? Scope.liveObjects() : before;
      }
      assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);
    }
  }

  /**
   * On every processor as near float32's as bfloat16 comes, and not slower by the factor (6 to 20)
   * that libtorch's own takes where a processor multiplies bfloat16 without AMX.
   */
  @Test
  void longAttentionInBfloat16IsNoSlowerByFar() {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(0)) {
      Tensor x = Tensor.randn(rng, 1, 2, 1024, 40).mul(2);
      Tensor half = x.to(DType.BF16);
      Tensor want = Functional.attention(half.to(DType.F32), half.to(DType.F32), x, false);
      Tensor got = Functional.attention(half, half, x.to(DType.BF16), false);
      assertThat(got.dtype()).isEqualTo(DType.BF16);
      assertThat(got.to(DType.F32).sub(want).abs().max().item()).isLessThan(0.05);
      assertThat(Flops.of(() -> Functional.attention(half, half, half, false)))
          .isEqualTo(Flops.of(() -> Functional.attention(x, x, x, false)));
      double single = Double.POSITIVE_INFINITY;
      double bfloat16 = Double.POSITIVE_INFINITY;
      for (int i = 0; i < 10; i++) { // in turn, the best: other processes slow both
        single = Math.min(single, seconds(() -> Functional.attention(x, x, x, false)));
        bfloat16 = Math.min(bfloat16, seconds(() -> Functional.attention(half, half, half, false)));
      }
      assertThat(bfloat16).isLessThan(5 * single);
    }
  }

  private static double seconds(Runnable work) {
    long start = System.nanoTime();
    work.run();
    return (System.nanoTime() - start) / 1e9;
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 7, 16, 77})
  void attentionHasTheSameGradients(int tokens) {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0)) {
      Tensor context = bfloat16(rng, 2, 3, tokens, 20);
      assertSameGradients(
          rng,
          bfloat16(rng, 2, 3, 25, 20),
          q -> {
            Tensor c = context.to(q.dtype());
            return Functional.attention(q, c, c, false);
          },
          context);
    }
  }

  /** Values that bfloat16 can hold, as float32 leaves. */
  private static Tensor bfloat16(Rng rng, long... shape) {
    return Tensor.randn(rng, shape).to(DType.BF16).to(DType.F32).requiresGrad(true);
  }

  private static void assertSameGradients(
      Rng rng, Tensor x, UnaryOperator<Tensor> operation, Tensor... weights) {
    Tensor[][] gradients = new Tensor[2][weights.length + 2];
    Tensor upstream = Tensor.randn(rng, operation.apply(x).shape());
    for (int run = 0; run < 2; run++) {
      Tensor leaf = x.detach().copy().requiresGrad(true);
      Tensor y = operation.apply(leaf.to(run == 0 ? DType.F32 : DType.BF16)).to(DType.F32);
      y.mul(upstream).sum().backward();
      gradients[run][0] = y.detach();
      gradients[run][1] = leaf.grad();
      for (int i = 0; i < weights.length; i++) {
        gradients[run][i + 2] = weights[i].grad().copy();
        weights[i].grad().zeroInPlace();
      }
    }
    for (int i = 0; i < weights.length + 2; i++) {
      Tensor expected = gradients[0][i];
      assertThat(gradients[1][i].sub(expected).norm().item() / expected.norm().item())
          .as(i == 0 ? "output" : i == 1 ? "gradient of x" : "gradient of weight " + (i - 2))
          .isLessThan(ROUNDING);
    }
  }

  @Test
  void operationsAreCountedAsTheirFormulasSay() {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor maps = Tensor.zeros(DType.F32, 2, 3, 10, 8);
      Tensor filters = Tensor.zeros(DType.F32, 5, 3, 3, 3);
      Tensor tokens = Tensor.zeros(DType.F32, 2, 7, 6);
      Tensor matrix = Tensor.zeros(DType.F32, 4, 6);
      Tensor heads = Tensor.zeros(DType.F32, 2, 3, 7, 6);
      assertThat(Flops.of(() -> Functional.conv2d(maps, filters, null, 2, 1)))
          .isEqualTo(2L * (2 * 5 * 5 * 4) * (3 * 3 * 3));
      assertThat(Flops.of(() -> Functional.linear(tokens, matrix, null)))
          .isEqualTo(2L * (2 * 7) * 6 * 4);
      assertThat(Flops.of(() -> Functional.attention(heads, heads, heads, false)))
          .isEqualTo(2 * 2L * (2 * 3) * 7 * 7 * 6);
    }
  }
}
