package org.perflow.flow;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.flow.TimeWindows.Window;

class TimeWindowsTest {
  @ParameterizedTest
  @CsvSource({
    "1.0, 0.75, 1",
    "0.75, 0.5, 0.75",
    "0.75005, 0.5, 0.75",
    "0.751, 0.75, 1",
    "0.001, 0, 0.25"
  })
  void lookup(double t, double end, double start) {
    Window window = new TimeWindows(4).at(t);
    assertThat(window.end()).isEqualTo(end);
    assertThat(window.start()).isEqualTo(start);
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, 1e-4, -0.5, 1.01, Double.NaN})
  void noWindow(double t) {
    assertThatThrownBy(() -> new TimeWindows(4).at(t)).hasMessageContaining("t = " + t);
  }

  @ParameterizedTest // the first window whose end lies below t - 0.0001
  @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8, 10, 16})
  void lookupIsTheOfficialLoop(int count) {
    TimeWindows windows = new TimeWindows(count);
    for (int timestep = 1; timestep <= 1000; timestep++) {
      double t = timestep / 1000.0;
      Window first =
          windows.noisyToClean().stream().filter(w -> t - 1e-4 > w.end()).findFirst().orElseThrow();
      assertThat(windows.at(t)).isEqualTo(first);
    }
  }

  @Test
  void indicesOfTheEnds() {
    TimeWindows four = new TimeWindows(4);
    assertThat(four.noisyToClean().stream().map(w -> w.startIndex(1000)))
        .containsExactly(999, 749, 499, 249);
    assertThat(four.noisyToClean().stream().map(w -> w.endIndex(1000)))
        .containsExactly(749, 499, 249, -1);
    assertThat(new TimeWindows(3).window(2).startIndex(1000)).isEqualTo(665);
    assertThat(new TimeWindows(16).at(0.8125).startIndex(1000)).isEqualTo(811);
  }

  @Test
  void refusesNoWindows() {
    assertThatThrownBy(() -> new TimeWindows(0)).hasMessageContaining("got 0 time windows");
    assertThatThrownBy(() -> new TimeWindows(4).window(5)).hasMessageContaining("1 to 4");
  }
}
