package org.perflow.models;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.function.UnaryOperator;
import org.perflow.tensor.Tensor;

/**
 * What a {@code ControlNetModel} adds to the maps that go across in the U-Net and to the middle.
 * Its tensors belong to the scope they were made in.
 *
 * @param down one for each map, finest first, [B, C, H, W]
 */
public record Residuals(List<Tensor> down, Tensor mid) {
  public Residuals {
    down = List.copyOf(down);
  }

  /** All {@code scale} times. */
  public Residuals times(double scale) {
    return each(map -> map.mul(scale));
  }

  /** What {@code change} makes of every map. */
  Residuals each(UnaryOperator<Tensor> change) {
    return new Residuals(down.stream().map(change).toList(), change.apply(mid));
  }

  /** The sum of what two ControlNets add. */
  public Residuals plus(Residuals other) {
    if (other.down.size() != down.size()) {
      throw new IllegalArgumentException("ControlNets of different models do not go together");
    }
    List<Tensor> sums = new ArrayList<>();
    for (int i = 0; i < down.size(); i++) {
      sums.add(down.get(i).add(other.down.get(i)));
    }
    return new Residuals(sums, mid.add(other.mid));
  }

  /** {@code skips}, the last map first, each with its residual. */
  Deque<Tensor> addTo(Deque<Tensor> skips) {
    if (skips.size() != down.size()) {
      throw new IllegalArgumentException(
          "the ControlNet adds to %d maps, the U-Net has %d: it is for another model"
              .formatted(down.size(), skips.size()));
    }
    Deque<Tensor> sums = new ArrayDeque<>();
    Iterator<Tensor> maps = skips.descendingIterator();
    down.forEach(residual -> sums.push(maps.next().add(residual)));
    return sums;
  }
}
