package org.perflow.tensor.nn;

import java.util.Arrays;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.PackedFilters;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Rows;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * A weight: its shape, its device, how it starts, and, once there, its value, which the module
 * owns.
 */
public final class Parameter {
  private final Init init;
  private final long[] shape;
  private Device device = Device.CPU;
  private @Nullable Tensor value;
  private @Nullable UnaryOperator<Tensor> change;
  private volatile @Nullable PackedFilters packed; // in the place of the value
  private boolean packs;
  private @Nullable Home home; // while a copy stands for it

  /** What a weight is when no copy elsewhere stands for it. */
  private record Home(
      Device device, @Nullable Tensor value, @Nullable UnaryOperator<Tensor> change) {}

  Parameter(Init init, long... shape) {
    this.init = init;
    this.shape = shape.clone();
  }

  /** Draws the first value of a weight, float32. */
  public interface Init {
    /** A new tensor of that shape, owned by the scope of the caller. */
    Tensor draw(Rng rng, long[] shape);

    /** All elements {@code value}. */
    static Init constant(double value) {
      return (rng, shape) -> Tensor.full(value, shape);
    }

    /** Normal with that deviation. */
    static Init normal(double deviation) {
      return (rng, shape) -> Tensor.randn(rng, shape).mulInPlace(deviation);
    }

    /** Uniform in ±1/√fanIn, PyTorch's default for linear layers and convolutions. */
    static Init fanIn(long fanIn) {
      double bound = 1 / Math.sqrt(fanIn);
      return (rng, shape) -> Tensor.rand(rng, shape).mulInPlace(2 * bound).addInPlace(-bound);
    }
  }

  /** Its sizes, known before there is a value. */
  public long[] shape() {
    return shape.clone();
  }

  /** Where its value is, or will be. */
  public Device device() {
    return device;
  }

  void to(Device other) {
    unpack();
    device = other;
    if (value != null && !value.device().equals(other)) {
      Tensor moved;
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        moved = scope.release(placed(value.detach()));
      }
      value(moved);
    }
  }

  /** A copy on {@code other} of what the value is now stands for it, until {@link #takeBack}. */
  void lend(Device other) {
    if (home != null) {
      throw new IllegalStateException("this weight is lent to " + device + " already");
    }
    Tensor copy;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      copy = scope.release(placed(value().detach(), other));
    }
    home = new Home(device, value, change);
    device = other;
    value = copy;
    change = null;
  }

  void takeBack() {
    Home before = home;
    if (before != null) {
      close();
      device = before.device();
      value = before.value();
      change = before.change();
      home = null;
    }
  }

  /**
   * The value: the module's own tensor or, of an {@link #adapt adapted} weight, one worked out for
   * the caller and owned by its scope.
   *
   * @throws IllegalStateException before load or initialise
   */
  public Tensor value() {
    if (packed != null) {
      unpack();
    }
    if (value == null) {
      throw new IllegalStateException(
          "weight of shape "
              + Arrays.toString(shape)
              + " has no value: load or initialise the model first");
    }
    Tensor leaf = Rows.leaf(value);
    return change == null ? leaf : change.apply(leaf);
  }

  /**
   * Makes {@link #value} give {@code change} of the stored weight, worked out at every call, so
   * that gradients reach whatever it computes with. The stored weight stays as it is, and the
   * change is no part of the module: whoever adapts a weight says {@link #restore} before freeing
   * what the change needs.
   *
   * @throws IllegalStateException where it is adapted already
   */
  public void adapt(UnaryOperator<Tensor> change) {
    if (this.change != null) {
      throw new IllegalStateException("this weight is adapted already: restore it first");
    }
    this.change = change;
  }

  /** Undoes {@link #adapt}: the value is the stored weight again, bit for bit. */
  public void restore() {
    change = null;
  }

  /** From now on {@link #packed} may keep it in another order. */
  void pack() {
    packs = true;
  }

  /**
   * The value, filters of a convolution, in the order that is fastest for maps such as {@code x};
   * null where the {@link #value} is as good. The caller closes what it gets. While it is kept so,
   * the value itself is not: whoever asks for that brings it back.
   */
  synchronized @Nullable PackedFilters packed(Tensor x, int stride, int padding) {
    if (!packs || change != null || !device.equals(Device.CPU)) {
      return null;
    }
    PackedFilters now = packed;
    if (now == null && (value == null || value.requiresGrad())) {
      return null;
    }
    if (!PackedFilters.suit(x, now == null ? value.dtype() : x.dtype(), shape)) {
      return null;
    }
    if (now == null || !now.fit(x)) {
      unpack();
      now = PackedFilters.of(value, x, stride, padding);
      close();
      packed = now;
    }
    return now.shared();
  }

  private synchronized void unpack() {
    PackedFilters now = packed;
    if (now != null) {
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        value = scope.release(now.plain());
      }
      packed = null;
      now.close();
    }
  }

  /**
   * {@code tensor} on the device of this weight, filters of convolutions in the layout that a GPU
   * multiplies them in; owned by the caller's scope.
   */
  public Tensor placed(Tensor tensor) {
    return placed(tensor, device);
  }

  private Tensor placed(Tensor tensor, Device where) {
    Tensor moved = tensor.to(where);
    return where.kind() == Device.Kind.CUDA && shape.length == 4 ? moved.channelsLast() : moved;
  }

  /**
   * Takes over {@code tensor}, of the right shape and on {@link #device}, as the value; the old one
   * is freed.
   */
  public void value(Tensor tensor) {
    if (!Arrays.equals(tensor.shape(), shape)) {
      throw new IllegalArgumentException(
          "got shape " + Arrays.toString(tensor.shape()) + ", expected " + Arrays.toString(shape));
    }
    if (!tensor.device().equals(device)) {
      throw new IllegalArgumentException(
          "got a weight on " + tensor.device() + " for a module on " + device);
    }
    close();
    value = tensor;
    packs = false; // others may hold it and change it
  }

  /** Where there are no values ({@link Device#META}) none are drawn. */
  void initialise(Rng rng, DType type) {
    Tensor drawn;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      drawn =
          scope.release(
              device.equals(Device.META)
                  ? Tensor.empty(type, device, shape)
                  : placed(init.draw(rng, shape).to(type)));
    }
    value(drawn);
  }

  boolean isHere() {
    return value != null || packed != null;
  }

  void close() {
    if (value != null) {
      value.close();
      value = null;
    }
    if (packed != null) {
      packed.close();
      packed = null;
    }
  }
}
