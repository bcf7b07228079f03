package org.perflow.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Parameter;

class RowsTest {
  private final int before = Device.threads();

  @BeforeEach
  void threeThreads() {
    Device.threads(3);
  }

  @AfterEach
  void asBefore() {
    Device.threads(before);
  }

  @Test
  void sharesAreMadeByOtherThreadsAndComeBackInOrder() {
    Set<String> threads = ConcurrentHashMap.newKeySet();
    Set<Long> counts = ConcurrentHashMap.newKeySet();
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor x = Tensor.generate(7, i -> i);
      Tensor twice =
          Rows.apply(
              7,
              rows -> {
                threads.add(Thread.currentThread().getName());
                counts.add(rows.apply(x).size(0));
                return rows.apply(x).mul(2);
              });
      assertThat(twice.toDoubleArray()).containsExactly(0, 2, 4, 6, 8, 10, 12);
      assertThat(counts).containsOnly(2L, 3L);
      assertThat(threads).containsOnly("perflow-rows");
      assertThat(Device.threads()).isEqualTo(3);
    }
  }

  @Test
  void oneThreadMakesAllWhereGradientsAreRecordedWithoutATape() {
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.generate(4, i -> i).requiresGrad(true);
      String caller = Thread.currentThread().getName();
      Tensor sum =
          Rows.apply(
              4,
              rows -> {
                assertThat(Thread.currentThread().getName()).isEqualTo(caller);
                return rows.apply(x).square();
              });
      assertThat(sum.size(0)).isEqualTo(4);
    }
  }

  /** Weights, a leaf, a computed input and one batch after another, as in a distillation. */
  private static Tensor loss(Tensor x, Parameter w, Tensor v) {
    Tensor condition = x.mul(v); // [B, 8], which gradients go through
    Tensor once = Rows.apply(7, rows -> rows.apply(condition).matmul(w.value()).sin());
    Tensor twice =
        Rows.apply(7, rows -> rows.apply(once).add(rows.apply(condition)).matmul(w.value()));
    return twice.square().mean().add(once.mean());
  }

  @Test
  void gradientsOfSharesAreThoseOfAllRowsAndTheSameEveryTime() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(1);
        Linear layer = new Linear(8, 8, false)) {
      layer.initialise(rng, DType.F32);
      Parameter w = layer.namedParameters().get("weight");
      w.value().requiresGrad(true);
      Tensor x = Tensor.randn(rng, 7, 8);
      Tensor v = Tensor.randn(rng, 8).requiresGrad(true);
      loss(x, w, v).backward();
      Tensor plainW = w.value().grad().copy();
      Tensor plainV = v.grad().copy();
      float[] first = null;
      for (int i = 0; i < 20; i++) {
        w.value().grad().zeroInPlace();
        v.grad().zeroInPlace();
        Set<String> threads = ConcurrentHashMap.newKeySet();
        try (Tape tape = Tape.record(Tape.Way.SHARED)) {
          Tensor loss = loss(Rows.apply(7, rows -> named(threads, rows.apply(x))), w, v);
          assertThatThrownBy(loss::backward).hasMessageContaining("use its backward");
          tape.backward(loss);
        }
        assertThat(threads).containsOnly("perflow-rows");
        assertThat(w.value().grad().sub(plainW).abs().max().item()).isLessThan(1e-5);
        assertThat(v.grad().sub(plainV).abs().max().item()).isLessThan(1e-5);
        float[] now = w.value().grad().toFloatArray();
        assertThat(now).isEqualTo(first == null ? now : first);
        first = now;
      }
    }
  }

  private static Tensor named(Set<String> threads, Tensor rows) {
    threads.add(Thread.currentThread().getName());
    return rows.add(0);
  }

  @Test
  void memoryOfRecordedSharesIsFreedWithTheTape() {
    try (Rng rng = Rng.seeded(1);
        Linear layer = new Linear(8, 8, false)) {
      layer.initialise(rng, DType.F32);
      Parameter w = layer.namedParameters().get("weight");
      w.value().requiresGrad(true);
      long objects = 0;
      for (int i = 0; i < 30; i++) {
        try (Scope scope = Scope.open();
            Tape tape = Tape.record(Tape.Way.SHARED)) {
          Tensor v = Tensor.randn(rng, 8).requiresGrad(true);
          Tensor loss = loss(Tensor.randn(rng, 7, 8), w, v);
          if (i % 2 == 0) { // as where a loss turns out to be NaN
            tape.backward(loss);
          }
        }
        if (i == 5) {
          objects = Scope.liveObjects();
        }
      }
      assertThat(Scope.liveObjects()).isLessThanOrEqualTo(objects);
    }
  }

  @Test
  void memoryStaysFlatAndFailuresComeOutAsTheyWere() {
    try (NoGrad guard = NoGrad.enter()) {
      long objects = 0;
      for (int i = 0; i < 50; i++) {
        try (Scope scope = Scope.open()) {
          Tensor x = Tensor.generate(6, row -> row);
          Rows.apply(6, rows -> rows.apply(x).add(1));
          assertThatThrownBy(
                  () ->
                      Rows.apply(
                          6,
                          rows -> {
                            if (rows.apply(x).toDoubleArray()[0] == 0) {
                              throw new IllegalStateException("no first row");
                            }
                            return rows.apply(x);
                          }))
              .isExactlyInstanceOf(IllegalStateException.class)
              .hasMessage("no first row");
        }
        objects = i == 9 ? Scope.liveObjects() : objects;
      }
      assertThat(Scope.liveObjects()).isLessThanOrEqualTo(objects);
    }
  }
}
