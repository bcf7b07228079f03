package org.perflow.tensor.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Rows;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** Filters in the order of drawing give what they give as stored, and come back bit for bit. */
class PackedWeightsTest {
  @ParameterizedTest
  @CsvSource({
    "1, 16, 16, 3, 1",
    "3, 4, 80, 3, 1",
    "2, 80, 128, 3, 2",
    "5, 128, 4, 1, 1",
    "2, 7, 5, 3, 1"
  })
  void convolutionsGiveTheSame(int batch, int in, int out, int kernel, int stride) {
    with(
        new Conv2d(in, out, kernel, stride, kernel / 2),
        conv -> {
          Rng rng = Rng.seeded(1);
          for (long side : new long[] {8, 16, 8}) {
            Tensor x = Tensor.randn(rng, batch, in, side, side);
            Tensor packed = conv.forward(x);
            Tensor plain = stored(conv, x, stride, kernel / 2);
            assertThat(packed.shape()).isEqualTo(plain.shape());
            assertThat(packed.sub(plain).abs().max().item()).isLessThan(1e-4);
          }
          rng.close();
        });
  }

  @Test
  void weightsComeBackAsTheyWere() {
    with(
        new Conv2d(12, 20, 3, 1, 1),
        conv -> {
          Parameter weight = conv.namedParameters().get("weight");
          float[] before = weight.value().toFloatArray();
          conv.forward(Tensor.full(1, 1, 12, 8, 8));
          assertThat(weight.value().toFloatArray()).isEqualTo(before);
        });
  }

  @Test
  void whatChangesThemIsSeen() {
    with(
        new Conv2d(3, 8, 3, 1, 1),
        conv -> {
          Parameter weight = conv.namedParameters().get("weight");
          Tensor x = Tensor.full(1, 1, 3, 8, 8);
          double before = conv.forward(x).abs().sum().item();
          weight.value().mulInPlace(2);
          assertThat(conv.forward(x).abs().sum().item()).isCloseTo(2 * before, within(1e-3));
          weight.adapt(stored -> stored.mul(3));
          assertThat(conv.forward(x).abs().sum().item()).isCloseTo(6 * before, within(1e-3));
          weight.restore();
          assertThat(conv.forward(x).abs().sum().item()).isCloseTo(2 * before, within(1e-3));
        });
  }

  @Test
  void sharesOfABatchPackOnce() {
    with(
        new Conv2d(8, 8, 3, 1, 1),
        conv -> {
          Rng rng = Rng.seeded(1);
          Tensor x = Tensor.randn(rng, 7, 8, 8, 8);
          Tensor shared = Rows.apply(7, rows -> conv.forward(rows.apply(x)));
          assertThat(shared.sub(conv.forward(x)).abs().max().item()).isLessThan(1e-5);
          rng.close();
        });
  }

  @Test
  void changesOfSizeLeaveNothingBehind() {
    with(
        new Conv2d(8, 8, 3, 1, 1),
        conv -> {
          long before = 0;
          for (int i = 0; i < 200; i++) {
            try (Scope scope = Scope.open()) {
              conv.forward(Tensor.full(1, 1, 8, 8 + i % 2, 8));
            }
            before = i == 99 ? Scope.liveObjects() : before;
          }
          assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);
        });
  }

  private static Tensor stored(Conv2d conv, Tensor x, int stride, int padding) {
    return org.perflow.tensor.Functional.conv2d(
        x,
        conv.namedParameters().get("weight").value(),
        conv.namedParameters().get("bias").value(),
        stride,
        padding);
  }

  private static void with(Conv2d conv, Consumer<Conv2d> test) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(0);
        conv) {
      conv.initialise(rng, DType.F32);
      conv.pack();
      test.accept(conv);
    }
  }
}
