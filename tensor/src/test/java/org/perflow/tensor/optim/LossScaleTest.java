package org.perflow.tensor.optim;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Linear;

/** Against the numbers of {@code torch.amp.GradScaler()}. */
class LossScaleTest {
  @Test
  void comesDownAtOverflowsAndGoesUpAfterTwoThousandUpdates() {
    try (Linear model = new Linear(2, 1, false);
        Rng rng = Rng.seeded(0)) {
      model.initialise(rng, DType.F32);
      try (FlatParameters flat = new FlatParameters(model.namedParameters());
          LossScale scale = new LossScale();
          Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        assertThat(scale.factor()).isEqualTo(65536);
        Tensor gradients = flat.gradients();
        gradients.copyInPlace(Tensor.of(new float[] {65536, 1}));
        assertThat(scale.unscale(flat)).isTrue();
        assertThat(gradients.toFloatArray()).containsExactly(1, 1f / 65536);
        for (float bad : new float[] {Float.POSITIVE_INFINITY, Float.NaN}) {
          gradients.copyInPlace(Tensor.of(new float[] {bad, 1}));
          assertThat(scale.unscale(flat)).isFalse();
        }
        assertThat(scale.factor()).isEqualTo(16384);
        gradients.zeroInPlace();
        for (int i = 0; i < 1999; i++) {
          scale.unscale(flat);
        }
        assertThat(scale.factor()).isEqualTo(16384);
        scale.unscale(flat);
        assertThat(scale.factor()).isEqualTo(32768);
        assertThat(scale.isExhausted()).isFalse();
        gradients.copyInPlace(Tensor.full(Double.NaN, 2));
        for (int i = 0; i < 40; i++) {
          scale.unscale(flat);
        }
        assertThat(scale.isExhausted()).isTrue();
      }
    }
  }
}
