package org.perflow.distill;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class PoolTest {
  private static Map<String, Tensor> rows(float... values) {
    Tensor x = Tensor.of(values, values.length, 1);
    return Map.of("x", x, "tenfold", x.mul(10));
  }

  @Test
  void holdsTheNewestRowsAndKeepsTheirTensorsTogether() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(5);
        Pool pool = new Pool("numbers", 4, rows(0))) {
      pool.add(rows(0, 1));
      assertThat(pool.draw(50, rng).get("x").toFloatArray()).containsOnly(0, 1);
      pool.add(rows(2, 3));
      pool.add(rows(4, 5)); // the last four stay
      Map<String, Tensor> drawn = pool.draw(200, rng);
      assertThat(drawn.get("x").toFloatArray()).containsOnly(2, 3, 4, 5);
      assertThat(drawn.get("tenfold").toFloatArray())
          .isEqualTo(drawn.get("x").mul(10).toFloatArray());
      assertThat(pool.state().get("numbers.added").toLongArray()).containsExactly(6);
    }
  }

  @Test
  void isRefilledEverySoManyStepsAndMoreAtTheBeginning() {
    List<Integer> made = new ArrayList<>();
    try (Scope scope = Scope.open();
        Pool pool = new Pool("numbers", 8, rows(0))) {
      for (long step = 0; step < 7; step++) {
        pool.refill(
            step,
            3,
            2,
            6,
            count -> {
              made.add(count);
              return rows(new float[count]);
            });
      }
      assertThat(made).containsExactly(6, 2, 2);
    }
  }

  @Test
  void goesOnFromItsState() {
    try (Scope scope = Scope.open();
        Pool pool = new Pool("numbers", 4, rows(0));
        Pool other = new Pool("numbers", 4, rows(0));
        Rng rng = Rng.seeded(0);
        Rng same = Rng.seeded(0)) {
      pool.add(rows(1, 2, 3));
      pool.state().forEach((name, kept) -> other.state().get(name).copyInPlace(kept));
      pool.add(rows(4, 5));
      other.add(rows(4, 5));
      assertThat(other.draw(20, same).get("x").toFloatArray())
          .isEqualTo(pool.draw(20, rng).get("x").toFloatArray());
    }
  }
}
