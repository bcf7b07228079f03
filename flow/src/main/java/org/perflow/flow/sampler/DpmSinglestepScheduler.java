package org.perflow.flow.sampler;

import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * DPM-Solver and DPM-Solver++ whose steps of order k evaluate the network k times and remember
 * nothing beyond (2S, 3S): diffusers' DPMSolverSinglestepScheduler. Every timestep counts as a step
 * there: with order 3 each group of three levels is reached from its first by orders 1, 2, 3.
 */
final class DpmSinglestepScheduler implements Scheduler {
  private final DpmSolver solver;
  private final PredictionType prediction;
  private final Sigmas sigmas;
  private final int[] orders;
  private final History answers;
  private final History base = new History(1);

  DpmSinglestepScheduler(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    config.refuseZeroSnr();
    this.solver = new DpmSolver(config, "dpmsolver++", "dpmsolver", "sde-dpmsolver++");
    this.prediction = PredictionType.of(config);
    this.sigmas =
        Sigmas.ofIntervals(
            config, schedule, steps, Sigmas.SpreadEnd.TABLE, Sigmas.Timestep.NEAREST);
    this.orders = orders(config, steps, sigmas.sigma(steps) == 0);
    if (!solver.isMidpoint()) { // the midpoint rule takes D1 alone
      solver.refuseStochasticThird(config.integer("solver_order"));
    }
    if (solver.stochastic()) {
      sigmas.requireFalling();
    }
    sigmas.requireSlopes(index -> orders[index]);
    this.answers = new History(config.integer("solver_order"));
  }

  /** 1, 2, 3, 1, 2, 3, ... with the last lowered where σ = 0 or the config asks for it. */
  private static int[] orders(SchedulerConfig config, int steps, boolean toZero) {
    int order = config.integer("solver_order");
    int[] orders = new int[steps];
    for (int i = 0; i < steps; i++) {
      orders[i] = i % order + 1;
    }
    // Without lower_order_final a number of steps that is no multiple of the order turns it on,
    // but then no full group is at the end.
    if (toZero || (config.flag("lower_order_final") && steps % order == 0)) {
      orders[steps - 1] = 1;
    }
    return orders;
  }

  @Override
  public double[] timesteps() {
    return sigmas.timesteps();
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor z, NoiseSource source) {
    try (Scope scope = Scope.open()) {
      answers.begin(index);
      base.begin(index);
      answers.push(scope, solver.answer(prediction, sigmas, index, z, output));
      int order = Math.min(orders[index], answers.size()); // lower where a run starts in a group
      if (order == 1) {
        base.push(scope, z.copy());
      }
      DpmSolver.Step step = solver.step(sigmas, index - order + 1, index + 1);
      Tensor next =
          switch (order) {
            case 1 -> answers.weighted(step.constant());
            case 2 -> second(step, index);
            default -> third(step, index);
          };
      next = new Affine(step.state(), 1).apply(base.get(0), next);
      if (solver.stochastic()) {
        next = new Affine(1, step.noise()).apply(next, source.like(z));
      }
      if (index == sigmas.steps() - 1) {
        close();
      }
      return scope.keep(next);
    }
  }

  /** Where level {@code at} lies between the base of a step and its end, 0 ... 1. */
  private double ratio(int base, int at, int end) {
    return (sigmas.lambda(at) - sigmas.lambda(base)) / (sigmas.lambda(end) - sigmas.lambda(base));
  }

  private Tensor second(DpmSolver.Step step, int index) {
    double difference = solver.slope(step) / ratio(index - 1, index, index + 1);
    return answers.weighted(difference, step.constant() - difference); // D1 = (m0 − m1)/r0
  }

  private Tensor third(DpmSolver.Step step, int index) {
    double r0 = ratio(index - 2, index, index + 1);
    double r1 = ratio(index - 2, index - 1, index + 1);
    if (solver.isMidpoint()) { // D1 from the base and the newest alone
      double difference = step.linear() / r0;
      return answers.weighted(difference, 0, step.constant() - difference);
    }
    // D10 = (m1 − m2)/r1, D11 = (m0 − m2)/r0,
    // D1 = (r0 D10 − r1 D11)/(r0 − r1), D2 = 2 (D11 − D10)/(r0 − r1)
    double newest = (2 * step.quadratic() - r1 * step.linear()) / (r0 - r1) / r0;
    double newer = (r0 * step.linear() - 2 * step.quadratic()) / (r0 - r1) / r1;
    return answers.weighted(newest, newer, step.constant() - newest - newer);
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    return new Affine(sigmas.alpha(index), sigmas.noise(index)).apply(z0, noise);
  }

  @Override
  public void close() {
    answers.close();
    base.close();
  }
}
