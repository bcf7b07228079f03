package org.perflow.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

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
  void oneThreadMakesAllWhereGradientsAreRecorded() {
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
      assertThat(Scope.liveObjects()).isEqualTo(objects);
    }
  }
}
