package org.perflow.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class TapeTest {
  /** Blocks with skips, plain operations and a shared, computed condition, as in a U-Net. */
  private static Tensor loss(Tensor x, Tensor w, Tensor v) {
    Tensor condition = v.tanh();
    Tensor start = x.matmul(w);
    Tensor a = Tape.block(in -> in.get(0).matmul(w).add(in.get(1)).sin(), start, condition);
    Tensor b = Tape.block(in -> in.get(0).matmul(w).mul(in.get(1)), a, condition);
    Tensor between = b.cos().add(a); // between blocks stands ordinary autograd
    Tensor c = Tape.block(in -> in.get(0).add(in.get(1)).matmul(w), between, start);
    return c.square().mean();
  }

  @Test
  void gradientsAreThoseOfPlainAutograd() {
    try (Scope scope = Scope.open()) {
      Rng rng = Rng.seeded(1);
      Tensor x = Tensor.randn(rng, 5, 8);
      Tensor w = Tensor.randn(rng, 8, 8).mul(0.3).detach().requiresGrad(true);
      Tensor v = Tensor.randn(rng, 8).requiresGrad(true);
      loss(x, w, v).backward();
      float[] wPlain = w.grad().toFloatArray();
      float[] vPlain = v.grad().toFloatArray();
      w.grad().zeroInPlace();
      v.grad().zeroInPlace();
      try (Tape tape = Tape.record(Tape.Way.RECOMPUTED)) {
        tape.backward(loss(x, w, v));
      }
      assertClose(w.grad().toFloatArray(), wPlain);
      assertClose(v.grad().toFloatArray(), vPlain);
    }
  }

  private static void assertClose(float[] actual, float[] expected) {
    for (int i = 0; i < expected.length; i++) {
      assertThat(actual[i]).isCloseTo(expected[i], within(1e-5f));
    }
  }
}
