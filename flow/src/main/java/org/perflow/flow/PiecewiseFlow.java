package org.perflow.flow;

import java.util.Arrays;
import java.util.function.Function;
import org.perflow.flow.TimeWindows.Window;
import org.perflow.tensor.Tensor;

/**
 * PeRFlow's closed forms on batches in which every row has its own time. All coefficients are
 * worked out in double on the host and applied as float32, whatever the dtype of the tensors;
 * results are float32, owned by the caller's scope, and differentiable. Immutable and thread-safe.
 *
 * @param schedule the teacher's noise table
 * @param windows the windows of time
 * @param parameterization what the network predicts
 */
public record PiecewiseFlow(
    NoiseSchedule schedule, TimeWindows windows, Parameterization parameterization) {

  /** Window starts as diffusion states: z_s = α z0 + σ ε at the start of each t's window. */
  public Tensor start(Tensor z0, Tensor noise, double[] t) {
    int[] indices = new int[t.length];
    Arrays.setAll(indices, i -> windows.at(t[i]).startIndex(schedule.size()));
    return schedule.addNoise(z0, noise, indices);
  }

  /** The chord: z_t = (1−r) z_s + r z_e. */
  public Tensor between(Tensor zStart, Tensor zEnd, double[] t) {
    return Affine.apply(each(t, this::chord), zStart, zEnd);
  }

  /** What the network should have said: (z_e − λ z_s)/η, or (z_s − z_e)/Δ for velocity. */
  public Tensor target(Tensor zStart, Tensor zEnd, double[] t) {
    return Affine.apply(each(t, time -> target(windows.at(time))), zStart, zEnd);
  }

  /** The slope dz/dt at z_t that a network output stands for. */
  public Tensor velocity(Tensor zt, Tensor output, double[] t) {
    return Affine.apply(each(t, this::velocity), zt, output);
  }

  /** z_t as a·z_s + b·z_e. */
  public Affine chord(double t) {
    double r = windows.at(t).progress(t);
    return new Affine(1 - r, r);
  }

  /** The target as a·z_s + b·z_e; the same all over the window. */
  public Affine target(Window window) {
    if (parameterization == Parameterization.VELOCITY) {
      return new Affine(1 / window.width(), -1 / window.width());
    }
    Parameterization.Link link = link(window);
    return new Affine(-link.lambda() / link.eta(), 1 / link.eta());
  }

  /** dz/dt as a·z_t + b·output. */
  public Affine velocity(double t) {
    if (parameterization == Parameterization.VELOCITY) {
      return new Affine(0, 1);
    }
    Window window = windows.at(t);
    return link(window).velocityAt(window.progress(t), window.width());
  }

  /** λ and η of one window; not for velocity networks. */
  public Parameterization.Link link(Window window) {
    int size = schedule.size();
    return parameterization.link(
        schedule.alphaBar(window.startIndex(size)), schedule.alphaBar(window.endIndex(size)));
  }

  private static Affine[] each(double[] t, Function<Double, Affine> coefficients) {
    return Arrays.stream(t).boxed().map(coefficients).toArray(Affine[]::new);
  }
}
