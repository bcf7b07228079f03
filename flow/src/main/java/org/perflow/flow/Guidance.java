package org.perflow.flow;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.perflow.tensor.Tensor;

/**
 * Scale of classifier-free guidance over the steps of a run. Several scales are shared out over the
 * steps as PeRFlow shares steps among its windows: in order, the first ones a step more where they
 * do not divide, so that "7.5-4-4-4" in five steps is 7.5, 7.5, 4, 4, 4 (PeRFlow, arXiv 2405.07510,
 * dynamic guidance). Immutable.
 *
 * @param scales in the convention of diffusers; 1 or less is none and costs one pass of the network
 *     instead of two; none at all: see {@link #OWN}
 */
public record Guidance(List<Double> scales) {
  /** Where neither model nor caller says one: what diffusers' Stable Diffusion pipelines take. */
  public static final double DEFAULT = 7.5;

  /** What the model says it was made for: {@link Recommended#guidance}. */
  public static final Guidance OWN = new Guidance(List.of());

  public Guidance {
    scales = List.copyOf(scales);
    if (!scales.stream().allMatch(scale -> scale >= 0 && scale <= 1000)) {
      throw new IllegalArgumentException(
          "guidance is " + scales + "; want 1 (none) to about 10, or several such as 7.5-4-4-4");
    }
  }

  /** These scales in order, one or more, the noisiest step first. */
  public static Guidance of(double... scales) {
    if (scales.length == 0) {
      throw new IllegalArgumentException("guidance has no scale; want one or more");
    }
    return new Guidance(Arrays.stream(scales).boxed().toList());
  }

  /**
   * From text such as {@code 4.5} or {@code 7.5-4-4-4}.
   *
   * @throws IllegalArgumentException where it is no number, or several with dashes between
   */
  public static Guidance parse(String text) {
    try {
      return of(Arrays.stream(text.strip().split("-", -1)).mapToDouble(Double::valueOf).toArray());
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          "guidance is '" + text + "'; want a number, or several with dashes between: 7.5-4-4-4",
          e);
    }
  }

  /**
   * The scale of step {@code index} of {@code steps}.
   *
   * @throws IllegalArgumentException where there are more scales than steps
   */
  public double at(int index, int steps) {
    int count = scales.size();
    if (count == 0) {
      throw new IllegalStateException("which scale is the model's own was not looked up");
    }
    if (count > steps) {
      throw new IllegalArgumentException(
          "guidance " + this + " has " + count + " scales for " + steps + " steps; leave some out");
    }
    int each = steps / count;
    int longer = steps % count; // so many scales hold for each + 1 steps
    int which =
        index < longer * (each + 1)
            ? index / (each + 1)
            : longer + (index - longer * (each + 1)) / each;
    return scales.get(which);
  }

  /** Whether no step is guided, so that a negative prompt says nothing. */
  public boolean isNone() {
    return scales.stream().allMatch(scale -> scale <= 1);
  }

  /** unconditional + scale × (conditional − unconditional). */
  public static Tensor guide(Tensor unconditional, Tensor conditional, double scale) {
    return unconditional.add(conditional.sub(unconditional).mul(scale));
  }

  /**
   * Takes the spread of a guided output back towards that of {@code conditional}, against the
   * overexposure that large scales bring (Lin et al. 2023, arXiv 2305.08891, section 3.4).
   *
   * @param guided [B, ...], each row by itself
   * @param amount 0 changes nothing, 1 gives all of it back
   */
  public static Tensor rescale(Tensor guided, Tensor conditional, double amount) {
    Tensor ratio = deviation(conditional).div(deviation(guided)); // [B, 1]
    Tensor rows = guided.reshape(guided.size(0), -1);
    return rows.mul(ratio.mul(amount).add(1 - amount)).reshape(guided.shape());
  }

  /** Of each row, [B, 1], but for a factor that depends on the number of elements alone. */
  private static Tensor deviation(Tensor x) {
    Tensor rows = x.reshape(x.size(0), -1);
    Tensor centred = rows.sub(rows.mean(1).unsqueeze(1));
    return centred.mul(centred).mean(1).sqrt().unsqueeze(1);
  }

  /** As {@link #parse} reads it. */
  @Override
  public String toString() {
    return scales.stream()
        .map(scale -> scale == Math.rint(scale) ? Long.toString(scale.longValue()) : "" + scale)
        .collect(Collectors.joining("-"));
  }
}
