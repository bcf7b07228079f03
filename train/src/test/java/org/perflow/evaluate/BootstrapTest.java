package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class BootstrapTest {
  @Test
  void aShareHasTheBinomialInterval() {
    double[] hits = new double[400];
    Arrays.fill(hits, 0, 100, 1);
    Estimate share = Bootstrap.byPicture(400, 7).mean(hits);
    double half = 1.96 * Math.sqrt(0.25 * 0.75 / 400); // normal approximation
    assertThat(share.value()).isEqualTo(0.25);
    assertThat(share.low()).isCloseTo(0.25 - half, within(0.15 * half));
    assertThat(share.high()).isCloseTo(0.25 + half, within(0.15 * half));
  }

  @Test
  void picturesOfACaptionAreDrawnTogether() {
    List<String> captions = IntStream.range(0, 400).mapToObj(i -> "caption " + i % 25).toList();
    Bootstrap bootstrap = Bootstrap.byGroup(captions, 0);
    double[] weights = bootstrap.weights(3);
    assertThat(Arrays.stream(weights).sum()).isEqualTo(400);
    for (int i = 25; i < 400; i++) {
      assertThat(weights[i]).isEqualTo(weights[i - 25]);
    }
    // equal values within captions: 25 independent ones, an interval 4 times as wide as for 400
    double[] values = IntStream.range(0, 400).mapToDouble(i -> i % 25 % 2).toArray();
    Estimate clustered = bootstrap.mean(values);
    Estimate apart = Bootstrap.byPicture(400, 0).mean(values);
    double ratio = (clustered.high() - clustered.low()) / (apart.high() - apart.low());
    assertThat(ratio).isBetween(3.2, 4.8);
  }

  @Test
  void pairingTakesOutWhatTwoSystemsShare() {
    double[] one = IntStream.range(0, 200).mapToDouble(i -> Math.sin(i) * 10).toArray();
    double[] other = Arrays.stream(one).map(v -> v + 0.01).toArray();
    Estimate a = Bootstrap.byPicture(200, 1).mean(one);
    Estimate b = Bootstrap.byPicture(200, 1).mean(other);
    assertThat(a.high()).isGreaterThan(b.low()); // their own intervals overlap
    Estimate difference = b.minus(a);
    assertThat(difference.isNotZero()).isTrue();
    assertThat(difference.low()).isCloseTo(0.01, within(1e-9));
    assertThat(a.minus(Bootstrap.byPicture(200, 2).mean(other)).isNotZero()).isFalse();
  }

  @Test
  void whatDoesNotFitIsRefused() {
    Bootstrap bootstrap = Bootstrap.byPicture(3, 0);
    assertThatThrownBy(() -> bootstrap.mean(new double[2]))
        .hasMessageContaining("2 values for 3 pictures");
    assertThatThrownBy(() -> Bootstrap.byPicture(0, 0)).hasMessageContaining("none");
    Estimate mean = bootstrap.mean(new double[3]);
    assertThatThrownBy(() -> mean.minus(bootstrap.of(w -> 1, 10)))
        .hasMessageContaining("2000 and 10");
  }

  @Test
  void textHasTheIntervalInBrackets() {
    assertThat(new Estimate(2, new double[] {1, 2, 3}, 5).toText("%.1f"))
        .isEqualTo("2.0 [1.0, 3.0]");
    assertThat(new Estimate(2, new double[0], 5).toText("%.1f")).isEqualTo("2.0");
  }
}
