package org.perflow.compare;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DemoTest {
  /** From a few cores with AMX to a slow laptop that does other work besides. */
  @ParameterizedTest
  @ValueSource(doubles = {0.0002, 0.001, 0.005, 0.01, 0.02})
  void theBudgetIsKeptOnFastAndSlowMachines(double secondsAnEvaluation) {
    for (boolean quick : new boolean[] {false, true}) {
      Demo.Budget budget = Demo.Budget.of(quick, secondsAnEvaluation, 3);
      assertThat(budget.total()).isEqualTo(quick ? 100 : 300);
      assertThat(budget.pictures() % 16).isZero();
      assertThat(budget.pictures()).isBetween(16, quick ? 16 : 64);
      assertThat(budget.batch()).isBetween(8, 64);
      double evaluations = 2 * (50 + 8 + 4) + 2 * 2 * (4 + 8);
      assertThat(budget.comparison())
          .isBetween(
              budget.pictures() * evaluations * secondsAnEvaluation,
              10 + 1.2 * budget.pictures() * evaluations * secondsAnEvaluation);
      if (budget.comparison() < 0.5 * budget.total()) {
        assertThat(3 + budget.comparison() + budget.training())
            .isCloseTo(budget.total(), within(1e-6));
      }
      assertThat(budget.training()).isGreaterThanOrEqualTo(budget.total() / 5);
    }
  }
}
