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
 * @param path what the student follows between a window's ends
 */
public record PiecewiseFlow(
    NoiseSchedule schedule, TimeWindows windows, Parameterization parameterization, Curve path) {

  /** A way from a window's start to its end. */
  public enum Curve {
    /** The straight line of PeRFlow, sampled by PeRFlow's scheduler. */
    CHORD,
    /**
     * The curve on which a DDIM step of one ε from start to end lies, straight in z/α over σ/α:
     * phased Rectified Diffusion (Wang et al. 2024, arXiv 2410.07303, section 3), sampled by plain
     * DDIM. Both paths give the same picture in K steps; only steps in between differ.
     */
    DDIM;

    /** Refuses a parameterisation without the ε that the path is made of. */
    public void require(Parameterization parameterization) {
      if (this == DDIM && parameterization != Parameterization.DDIM_EPS) {
        throw new IllegalArgumentException(
            "path DDIM is a path of one ε and needs parameterization DDIM_EPS; got "
                + parameterization);
      }
    }
  }

  /** On the straight line. */
  public PiecewiseFlow(
      NoiseSchedule schedule, TimeWindows windows, Parameterization parameterization) {
    this(schedule, windows, parameterization, Curve.CHORD);
  }

  /** Refuses a path that the parameterisation cannot follow, and ε at pure noise. */
  public PiecewiseFlow {
    path.require(parameterization);
    if (parameterization != Parameterization.VELOCITY) {
      int noisiest = windows.window(windows.count()).startIndex(schedule.size());
      parameterization.link(schedule.alphaBar(noisiest), 1);
    }
  }

  /** Window starts as diffusion states: z_s = α z0 + σ ε at the start of each t's window. */
  public Tensor start(Tensor z0, Tensor noise, double[] t) {
    int[] indices = new int[t.length];
    Arrays.setAll(indices, i -> windows.at(t[i]).startIndex(schedule.size()));
    return schedule.addNoise(z0, noise, indices);
  }

  /** The point of the path at t; on the chord z_t = (1−r) z_s + r z_e. */
  public Tensor between(Tensor zStart, Tensor zEnd, double[] t) {
    return Affine.apply(each(t, this::between), zStart, zEnd);
  }

  /** What the network should have said: (z_e − λ z_s)/η, or (z_s − z_e)/Δ for velocity. */
  public Tensor target(Tensor zStart, Tensor zEnd, double[] t) {
    return Affine.apply(each(t, time -> target(windows.at(time))), zStart, zEnd);
  }

  /** The slope of the straight line from z_t to the window's end that an output stands for. */
  public Tensor velocity(Tensor zt, Tensor output, double[] t) {
    return Affine.apply(each(t, this::velocity), zt, output);
  }

  /** z_t as a·z_s + b·z_e. */
  public Affine between(double t) {
    Window window = windows.at(t);
    if (path == Curve.CHORD) {
      double r = window.progress(t);
      return new Affine(1 - r, r);
    }
    int size = schedule.size();
    double start = schedule.alphaBar(window.startIndex(size));
    double end = schedule.alphaBar(window.endIndex(size));
    double here = schedule.alphaBar(index(t));
    double r = (noise(start) - noise(here)) / (noise(start) - noise(end));
    return new Affine((1 - r) * Math.sqrt(here / start), r * Math.sqrt(here / end));
  }

  /** σ/α. */
  private static double noise(double alphaBar) {
    return Math.sqrt((1 - alphaBar) / alphaBar);
  }

  /** Noise level of a time on the grid, as for a window's start; 999 for t = 1. */
  private int index(double t) {
    return (int) Math.max(Math.rint(schedule.size() * t) - 1, 0);
  }

  /**
   * What the network is told at t. PeRFlow's scheduler says T t, DDIM the index of the noise level.
   */
  public double timestep(double t) {
    return path == Curve.CHORD ? schedule.size() * t : index(t);
  }

  /** The target as a·z_s + b·z_e; the same all over the window. */
  public Affine target(Window window) {
    if (parameterization == Parameterization.VELOCITY) {
      return new Affine(1 / window.width(), -1 / window.width());
    }
    Parameterization.Link link = link(window);
    return new Affine(-link.lambda() / link.eta(), 1 / link.eta());
  }

  /** The slope as a·z_t + b·output. */
  public Affine velocity(double t) {
    if (parameterization == Parameterization.VELOCITY) {
      return new Affine(0, 1);
    }
    Window window = windows.at(t);
    if (path == Curve.CHORD) {
      return link(window).velocityAt(window.progress(t), window.width());
    }
    double end = schedule.alphaBar(window.endIndex(schedule.size()));
    return parameterization.link(schedule.alphaBar(index(t)), end).velocityAt(0, t - window.end());
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
