package org.perflow.flow.sampler;

import java.util.Arrays;
import java.util.stream.DoubleStream;
import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * PNDM (Liu et al. 2022, arXiv 2202.09778): linear multistep (Adams-Bashforth weights) along the
 * DDIM transfer, as diffusers' PNDMScheduler. It starts with three Runge-Kutta steps of four
 * network evaluations each or, with {@code skip_prk_steps} (Stable Diffusion's setting), with one
 * step taken twice: N + 1 evaluations.
 */
final class PndmScheduler implements Scheduler {
  private static final int ORDER = 4;

  private final NoiseSchedule schedule;
  private final PredictionType prediction;
  private final double[] timesteps;
  private final int stride; // ⌊T/N⌋
  private final int rungeKutta; // how many of the timesteps belong to Runge-Kutta steps
  private final History outputs = new History(ORDER);
  private final History stages = new History(ORDER);
  private final History base =
      new History(1); // the state that a step of several stages set out from

  PndmScheduler(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    config.refuseZeroSnr();
    this.schedule = schedule;
    this.prediction = PredictionType.of(config);
    if (prediction == PredictionType.SAMPLE) {
      throw new IllegalArgumentException("PNDMScheduler has no prediction_type sample; use ddim");
    }
    double[] points =
        TimestepSpacing.of(config).points(schedule.size(), steps, config.integer("steps_offset"));
    double[] grid = Arrays.stream(points).map(Math::rint).toArray();
    this.stride = schedule.size() / steps;
    boolean multistepOnly = config.flag("skip_prk_steps");
    this.rungeKutta = multistepOnly ? 0 : 3 * ORDER;
    this.timesteps = multistepOnly ? secondTwice(grid) : rungeKuttaFirst(grid, stride / 2);
  }

  private static double[] secondTwice(double[] grid) {
    if (grid.length == 1) {
      return grid;
    }
    return DoubleStream.concat(Arrays.stream(grid, 0, 2), Arrays.stream(grid, 1, grid.length))
        .toArray();
  }

  /**
   * Each of the first three intervals at its noisy end, twice in its middle and at its clean end.
   */
  private static double[] rungeKuttaFirst(double[] grid, int half) {
    if (grid.length < ORDER) {
      throw new IllegalArgumentException(
          "got "
              + grid.length
              + " PNDM steps; want 4 or more, or skip_prk_steps true in the scheduler config");
    }
    DoubleStream stages =
        DoubleStream.iterate(0, i -> i < 3, i -> i + 1)
            .flatMap(
                i -> {
                  double to = grid[(int) i + 1];
                  return DoubleStream.of(grid[(int) i], to + half, to + half, to);
                });
    return DoubleStream.concat(stages, Arrays.stream(grid, 3, grid.length)).toArray();
  }

  @Override
  public double[] timesteps() {
    return timesteps.clone();
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor z, NoiseSource source) {
    try (Scope scope = Scope.open()) {
      int done = outputs.begin(index);
      stages.begin(index);
      base.begin(index);
      Tensor next =
          done < rungeKutta
              ? rungeKutta(scope, output, index, done, z)
              : multistep(scope, output, index, done, z);
      if (index == timesteps.length - 1) {
        close();
      }
      return scope.keep(next);
    }
  }

  /** Section 3.4 of the paper, appendix A.2: the classical weights 1 2 2 1. */
  private Tensor rungeKutta(Scope scope, Tensor output, int index, int done, Tensor z) {
    int from = (int) timesteps[done / 4 * 4];
    int to = (int) timesteps[index] - (done % 2 == 0 ? stride / 2 : 0);
    stages.push(scope, output.copy());
    if (done % 4 == 0) {
      outputs.push(scope, output.copy());
      base.push(scope, z.copy());
    }
    Tensor direction = done % 4 == 3 ? stages.weighted(1 / 6., 1 / 3., 1 / 3., 1 / 6.) : output;
    return transfer(base.get(0), direction, from, to);
  }

  private Tensor multistep(Scope scope, Tensor output, int index, int done, Tensor z) {
    int from = (int) timesteps[index];
    if (done == 1) { // the first step again, with the slope averaged over both its ends
      Tensor average = new Affine(0.5, 0.5).apply(output, outputs.get(0));
      return transfer(base.get(0), average, from + stride, from);
    }
    outputs.push(scope, output.copy());
    if (done == 0) {
      base.push(scope, z.copy());
    }
    Tensor direction =
        switch (outputs.size()) {
          case 1 -> output;
          case 2 -> outputs.weighted(3 / 2., -1 / 2.);
          case 3 -> outputs.weighted(23 / 12., -16 / 12., 5 / 12.);
          default -> outputs.weighted(55 / 24., -59 / 24., 37 / 24., -9 / 24.);
        };
    return transfer(z, direction, from, from - stride);
  }

  /** Eq. 9 of the paper, which is the DDIM step for ε. */
  private Tensor transfer(Tensor z, Tensor output, int from, int to) {
    return prediction.ddim(schedule, from, to).apply(z, output);
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    return schedule.noised((int) timesteps[index]).apply(z0, noise);
  }

  @Override
  public void close() {
    outputs.close();
    stages.close();
    base.close();
  }
}
