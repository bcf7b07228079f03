package org.perflow.evaluate;

import org.perflow.tensor.Device;
import org.perflow.tensor.Tensor;

/**
 * What a picture is compared by: numbers that a network makes of it. Figures on different networks
 * do not compare, so each names its own.
 */
public interface Features extends AutoCloseable {
  /** Names the network wherever a figure is printed. */
  String name();

  /** Side of the square pictures that it takes. */
  int side();

  /** pictures [B, 3, side, side] in [-1, 1] to features [B, D], owned by the caller's scope. */
  Tensor features(Tensor pictures);

  /** Moves its weights, where it has any, to that device; pictures may be on another. */
  default void to(Device device) {}

  /** Changes with the weights. */
  String fingerprint();

  /** The same of pictures [B, 3, H, W] of any size, resized as {@link BicubicResize} does. */
  default Tensor ofAnySize(Tensor pictures) {
    return features(BicubicResize.resize(pictures, side(), side()));
  }

  @Override
  void close();
}
