package org.perflow.flow.sampler;

import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * DPM-Solver and DPM-Solver++ that take the derivatives of the answer from the steps before (2M,
 * 3M), one network evaluation a step: diffusers' DPMSolverMultistepScheduler with its rules for
 * where the order is lowered. As there, and in the authors' code, the second difference of the
 * third order lacks a factor 2, so that it converges with order 2.
 */
final class DpmMultistepScheduler implements Scheduler {
  /** Runs of fewer steps end with lower orders. */
  static final int SHORT_RUN = 15;

  private final DpmSolver solver;
  private final PredictionType prediction;
  private final Sigmas sigmas;
  private final int order;
  private final boolean lowerLast;
  private final boolean lowerSecondLast;
  private final History answers;

  DpmMultistepScheduler(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    this.solver =
        new DpmSolver(config, "dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver");
    this.prediction = PredictionType.of(config);
    boolean cosine = config.text("beta_schedule").equals("squaredcos_cap_v2"); // as in diffusers
    this.sigmas =
        Sigmas.ofIntervals(
            config,
            schedule,
            steps,
            Sigmas.SpreadEnd.TABLE,
            cosine ? Sigmas.Timestep.BELOW : Sigmas.Timestep.NEAREST);
    this.order = config.integer("solver_order");
    solver.refuseStochasticThird(order);
    if (solver.stochastic()) {
      sigmas.requireFalling();
    }
    sigmas.requireSlopes(index -> order);
    this.lowerSecondLast = config.flag("lower_order_final") && steps < SHORT_RUN;
    this.lowerLast = lowerSecondLast || config.flag("euler_at_final") || sigmas.sigma(steps) == 0;
    this.answers = new History(order);
  }

  @Override
  public double[] timesteps() {
    return sigmas.timesteps();
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor z, NoiseSource source) {
    try (Scope scope = Scope.open()) {
      answers.begin(index);
      answers.push(scope, solver.answer(prediction, sigmas, index, z, output));
      DpmSolver.Step step = solver.step(sigmas, index, index + 1);
      Tensor next =
          switch (orderAt(index)) {
            case 1 -> answers.weighted(step.constant());
            case 2 -> second(step, index);
            default -> third(step, index);
          };
      next = new Affine(step.state(), 1).apply(z, next);
      if (solver.stochastic()) {
        next = new Affine(1, step.noise()).apply(next, source.like(z));
      }
      if (index == sigmas.steps() - 1) {
        close();
      }
      return scope.keep(next);
    }
  }

  private int orderAt(int index) {
    int left = sigmas.steps() - index;
    boolean standing = sigmas.sigma(index) == sigmas.sigma(index + 1);
    if (standing || (left == 1 && lowerLast)) {
      return 1;
    }
    return Math.min(answers.size(), left == 2 && lowerSecondLast ? Math.min(order, 2) : order);
  }

  /** How far back level {@code index − age} lies from the one after it, in steps of this size. */
  private double ratio(int index, int age) {
    double h = sigmas.lambda(index + 1) - sigmas.lambda(index);
    return (sigmas.lambda(index - age) - sigmas.lambda(index - age - 1)) / h;
  }

  private Tensor second(DpmSolver.Step step, int index) {
    double difference = solver.slope(step) / ratio(index, 0); // of D1 = (m0 − m1)/r0
    return answers.weighted(step.constant() + difference, -difference);
  }

  private Tensor third(DpmSolver.Step step, int index) {
    double r0 = ratio(index, 0);
    double r1 = ratio(index, 1);
    // D1 = D10 + r0/(r0 + r1) (D10 − D11), D2 = (D10 − D11)/(r0 + r1)
    double bend = (step.linear() * r0 + step.quadratic()) / (r0 + r1);
    double newer = (step.linear() + bend) / r0; // of D10 = (m0 − m1)/r0
    double older = -bend / r1; // of D11 = (m1 − m2)/r1
    return answers.weighted(step.constant() + newer, older - newer, -older);
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    return new Affine(sigmas.alpha(index), sigmas.noise(index)).apply(z0, noise);
  }

  @Override
  public void close() {
    answers.close();
  }
}
