package org.perflow.pipeline;

import java.awt.image.BufferedImage;
import org.perflow.models.ControlNetModel;

/**
 * A ControlNet and the picture it follows. Does not own the network.
 *
 * @param net of the model's family
 * @param picture the condition (edges, depth, a blurred tile, ...); stretched to the size drawn,
 *     black where it is transparent
 * @param scale of what the network adds, 1 as trained
 * @param start part of the run, 0 to 1, from which it takes part
 * @param end part of the run, 0 to 1, up to which it takes part
 */
public record Control(
    ControlNetModel net, BufferedImage picture, double scale, double start, double end) {
  public Control {
    check(scale, start, end);
  }

  /** Refuses numbers that mean nothing. */
  public static void check(double scale, double start, double end) {
    if (!(start >= 0 && start < end && end <= 1)) {
      throw new IllegalArgumentException(
          "a ControlNet takes part from "
              + start
              + " to "
              + end
              + "; want 0 <= start < end <= 1, parts of the run");
    }
    if (!Double.isFinite(scale)) {
      throw new IllegalArgumentException("the scale of a ControlNet is " + scale + "; 1 is usual");
    }
  }

  /** All along, as trained. */
  public static Control of(ControlNetModel net, BufferedImage picture) {
    return new Control(net, picture, 1, 0, 1);
  }

  /** The same with another strength. */
  public Control withScale(double value) {
    return new Control(net, picture, value, start, end);
  }

  /** The same in a part of the run. */
  public Control between(double newStart, double newEnd) {
    return new Control(net, picture, scale, newStart, newEnd);
  }

  /** Whether step {@code index} of {@code steps} lies wholly inside, as diffusers decides it. */
  boolean takesPart(int index, int steps) {
    return (double) index / steps >= start && (double) (index + 1) / steps <= end;
  }
}
