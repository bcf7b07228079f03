package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

class DataOrderTest {
  private static final List<long[]> SHAPES =
      List.of(
          LongStream.range(0, 10).toArray(),
          LongStream.range(10, 13).toArray(), // fewer than a batch
          LongStream.range(13, 40).toArray());

  private static List<long[]> draw(DataOrder order, int batches) {
    List<long[]> drawn = new ArrayList<>();
    for (int i = 0; i < batches; i++) {
      drawn.add(order.next());
    }
    return drawn;
  }

  private static Map<Long, Integer> counts(List<long[]> batches) {
    Map<Long, Integer> counts = new TreeMap<>();
    batches.stream()
        .flatMapToLong(Arrays::stream)
        .forEach(example -> counts.merge(example, 1, Integer::sum));
    return counts;
  }

  @Test
  void everyEpochHasEveryExampleOnce() {
    DataOrder order = new DataOrder(10, 4, 7);
    List<long[]> drawn = draw(order, 5);
    assertThat(counts(drawn)).hasSize(10);
    assertThat(counts(drawn).values()).containsOnly(2);
    assertThat(order.position()).isEqualTo(20);
  }

  @Test
  void aBatchIsOfOneGroupAndAllAreSeenAlike() {
    DataOrder order = new DataOrder(SHAPES, 4, 7);
    List<long[]> drawn = draw(order, 400); // 1600 examples: 40 epochs
    for (long[] batch : drawn) {
      assertThat(SHAPES).anySatisfy(group -> assertThat(group).contains(batch));
    }
    assertThat(counts(drawn)).hasSize(40);
    assertThat(counts(drawn).values()).allSatisfy(count -> assertThat(count).isBetween(38, 42));
    assertThat(order.filled()).isEqualTo(1);
  }

  @Test
  void aWeightIsHowOftenAnExampleIsSeen() {
    DataOrder order = new DataOrder(List.of(new long[] {0, 0, 0, 1, 2}), 5, 7);
    assertThat(counts(draw(order, 20))).isEqualTo(Map.of(0L, 60, 1L, 20, 2L, 20));
  }

  @Test
  void goesOnFromAPosition() {
    DataOrder whole = new DataOrder(SHAPES, 4, 7);
    draw(whole, 33);
    DataOrder resumed = new DataOrder(SHAPES, 4, 7);
    resumed.position(whole.position());
    List<long[]> wanted = draw(whole, 50);
    List<long[]> got = draw(resumed, 50);
    for (int i = 0; i < got.size(); i++) {
      assertThat(got.get(i)).isEqualTo(wanted.get(i));
    }
  }
}
