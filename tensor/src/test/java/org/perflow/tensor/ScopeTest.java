package org.perflow.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class ScopeTest {
  @Test
  void closingFreesWhatWasMadeInside() {
    Tensor inside;
    try (Scope scope = Scope.open()) {
      inside = Tensor.full(1, 4);
      assertThat(inside.sum().item()).isEqualTo(4);
    }
    assertThatThrownBy(inside::sum).isInstanceOf(NullPointerException.class);
  }

  @Test
  void keptTensorsMoveOutOneScopeAtATime() {
    Tensor kept;
    try (Scope outer = Scope.open()) {
      try (Scope inner = Scope.open()) {
        kept = inner.keep(Tensor.full(2, 3));
      }
      assertThat(kept.sum().item()).isEqualTo(6);
    }
    assertThatThrownBy(kept::sum).isInstanceOf(NullPointerException.class);
  }

  @Test
  void releasedTensorsBelongToTheCaller() {
    Tensor mine;
    try (Scope outer = Scope.open()) {
      try (Scope inner = Scope.open()) {
        mine = inner.release(Tensor.full(2, 3));
      }
    }
    assertThat(mine.toFloatArray()).containsExactly(2, 2, 2);
    mine.close();
    assertThatThrownBy(mine::sum).isInstanceOf(NullPointerException.class);
  }

  @Test
  void aLoopOfStepsLeavesNothingBehind() {
    Tensor weight = Tensor.full(1, 256, 256).requiresGrad(true);
    long objects = 0;
    long bytes = 0;
    for (int step = 0; step < 300; step++) {
      try (Scope scope = Scope.open()) {
        Tensor.full(1, 64, 256).matmul(weight).square().mean().backward();
      }
      if (step == 100) {
        objects = Scope.liveObjects();
        bytes = Scope.physicalBytes();
      }
    }
    assertThat(Scope.liveObjects()).isLessThanOrEqualTo(objects);
    assertThat(Scope.physicalBytes() - bytes).isLessThan(16L << 20);
    weight.close();
  }
}
