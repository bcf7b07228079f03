package org.perflow.tensor.optim;

import java.util.LinkedHashMap;
import java.util.Map;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tape;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;

/**
 * The weights of one or several modules moved into one float32 buffer, and their gradients into
 * another. The modules' parameters become views that require gradients. Not thread-safe. Owns both
 * buffers; close it after the modules.
 */
public final class FlatParameters implements AutoCloseable {
  /** A gigabyte of float32; networks with more weights have operations large enough for threads. */
  private static final long MOST_IN_SHARES = 1L << 28;

  private final Map<String, Parameter> parameters;
  private final Tensor values;
  private final Tensor gradients;

  /** Takes over {@code parameters}, by unique name. */
  public FlatParameters(Map<String, Parameter> parameters) {
    this.parameters = new LinkedHashMap<>(parameters);
    long total = 0;
    Device device = Device.CPU;
    for (Parameter parameter : parameters.values()) {
      total += parameter.value().numel();
      device = parameter.device(); // one for all: libtorch refuses views of another
    }
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      values = scope.release(Tensor.empty(DType.F32, device, total));
      gradients = scope.release(Tensor.zeros(DType.F32, device, total));
      views(values)
          .forEach(
              (name, view) -> {
                Parameter parameter = this.parameters.get(name);
                view.copyInPlace(parameter.value());
                parameter.value(scope.release(view.detach().requiresGrad(true)));
              });
      views(gradients).forEach((name, view) -> this.parameters.get(name).value().grad(view));
    }
  }

  /** All weights, [total]. */
  public Tensor values() {
    return values;
  }

  /** All gradients, [total]; {@code backward} accumulates here. */
  public Tensor gradients() {
    return gradients;
  }

  /** A flat tensor of this layout cut into its named, shaped views, owned by the caller's scope. */
  public Map<String, Tensor> views(Tensor flat) {
    Map<String, Tensor> views = new LinkedHashMap<>();
    long offset = 0;
    for (Map.Entry<String, Parameter> entry : parameters.entrySet()) {
      long[] shape = entry.getValue().shape();
      long size = 1;
      for (long s : shape) {
        size *= s;
      }
      views.put(entry.getKey(), flat.narrow(0, offset, size).reshape(shape));
      offset += size;
    }
    return views;
  }

  /** In shares where the gradients of all are no great part of a machine's memory. */
  public Tape.Way way() {
    return gradients.device().isCpu() && gradients.numel() * Device.threads() <= MOST_IN_SHARES
        ? Tape.Way.SHARED
        : Tape.Way.PLAIN;
  }

  /**
   * Scales gradients down to a norm of at most {@code maxNorm}, as PyTorch's clip_grad_norm_ does.
   *
   * @return the norm before, a scalar tensor on the device of the weights, in the caller's scope
   */
  public Tensor clipGradients(double maxNorm) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor norm = gradients.norm();
      if (gradients.device().isCpu()) {
        clip(norm.item(), maxNorm);
      } else { // the same without reading the norm, which would wait for the device
        double limit = Math.min(maxNorm, Float.MAX_VALUE);
        gradients.mulInPlace(norm.add(1e-6).reciprocal().mul(limit).clamp(0, 1));
      }
      return scope.keep(norm);
    }
  }

  private void clip(double norm, double maxNorm) {
    if (norm > maxNorm) {
      gradients.mulInPlace(maxNorm / (norm + 1e-6));
    }
  }

  /** Sets all gradients to zero. */
  public void zeroGradients() {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      gradients.zeroInPlace();
    }
  }

  @Override
  public void close() {
    values.close();
    gradients.close();
  }
}
