package org.perflow.flow.sampler;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * UniPC (Zhao et al. 2023, arXiv 2302.04867, algorithms 1 and 2): a multistep predictor, and a
 * corrector of one order more that costs nothing since it uses the network's answer at the
 * predicted state, which the next step needs anyway. Numerics of diffusers'
 * UniPCMultistepScheduler.
 */
final class UniPcScheduler implements Scheduler {
  private final PredictionType prediction;
  private final Sigmas sigmas;
  private final int order;
  private final boolean predictsData;
  private final boolean bh1;
  private final boolean lowerLast;
  private final DataBound bound;
  private final double[] uncorrected;
  private final History answers;
  private final History before = new History(1); // the state that the last predictor set out from
  private int lastOrder;

  UniPcScheduler(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    config.refuse("use_flow_sigmas", "use_dynamic_shifting", "shift_terminal", "solver_p");
    this.prediction = PredictionType.of(config);
    this.sigmas =
        Sigmas.ofIntervals(
            config, schedule, steps, Sigmas.SpreadEnd.LAST_LEVEL, Sigmas.Timestep.NEAREST);
    this.order = config.integer("solver_order");
    this.predictsData = config.flag("predict_x0");
    if (!predictsData) {
      config.refuse("thresholding"); // diffusers leaves it out there
    }
    this.bound = DataBound.of(config);
    this.lowerLast = config.flag("lower_order_final");
    this.bh1 = bh1(config.text("solver_type"));
    this.uncorrected = config.numbers("disable_corrector");
    if (order < 1 || order > 8) {
      throw new IllegalArgumentException("solver_order is " + order + "; want 1 to 8");
    }
    boolean endsWithOrderOne = lowerLast || order == 1 || steps == 1;
    if (sigmas.sigma(steps) == 0 && !(predictsData && endsWithOrderOne)) {
      throw new IllegalArgumentException(
          "UniPC steps to final_sigmas_type zero only with predict_x0 and lower_order_final; set"
              + " both to true or the final to sigma_min");
    }
    sigmas.requireSlopes(index -> order);
    this.answers = new History(order);
  }

  private static boolean bh1(String type) {
    return switch (type) {
      case "midpoint", "heun", "logrho" -> false; // other classes' names stand for bh2
      default -> SchedulerConfig.oneOf("solver_type", type, "bh1", "bh2").equals("bh1");
    };
  }

  @Override
  public double[] timesteps() {
    return sigmas.timesteps();
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor z, NoiseSource source) {
    try (Scope scope = Scope.open()) {
      int done = answers.begin(index);
      before.begin(index);
      double alpha = sigmas.alpha(index);
      double noise = sigmas.noise(index);
      Tensor answer =
          predictsData
              ? bound.data(prediction, alpha, noise, z, output)
              : prediction.noise(alpha, noise).apply(z, output);
      boolean corrects =
          done > 0 && Arrays.stream(uncorrected).noneMatch(skip -> skip == index - 1);
      // The network is not asked again at the corrected state.
      Tensor corrected = corrects ? update(before.get(0), index - 1, lastOrder, answer) : z.copy();
      answers.push(scope, answer);
      before.push(scope, corrected);
      int left = sigmas.steps() - index;
      lastOrder = Math.min(answers.size(), lowerLast ? Math.min(order, left) : order);
      Tensor next = update(corrected, index, lastOrder, null);
      if (index == sigmas.steps() - 1) {
        close();
      }
      return scope.keep(next);
    }
  }

  /**
   * From level {@code from} to the next: the predictor of that order or, with the answer at the end
   * known, the corrector (eq. 8 and 10; ρ solves R ρ = b).
   */
  private Tensor update(Tensor z, int from, int order, @Nullable Tensor answerAtEnd) {
    int to = from + 1;
    double h = sigmas.lambda(to) - sigmas.lambda(from);
    double x = predictsData ? -h : h;
    double scale = predictsData ? sigmas.alpha(to) : sigmas.noise(to);
    double state =
        predictsData
            ? sigmas.noise(to) / sigmas.noise(from)
            : sigmas.alpha(to) / sigmas.alpha(from);
    double[] ratios = new double[order]; // r1 ... r(p−1) of older levels, then 1 for the end
    Arrays.fill(ratios, 1);
    for (int k = 0; k < order - 1; k++) {
      ratios[k] = (sigmas.lambda(from - k - 1) - sigmas.lambda(from)) / h;
    }
    double[] weights = h == 0 ? new double[order] : weights(ratios, x, answerAtEnd != null);
    double b = scale * (bh1 ? x : Math.expm1(x));
    double[] factors = new double[order]; // of m0, m1, ...
    factors[0] = -scale * Math.expm1(x);
    for (int k = 0; k < order - 1; k++) { // of D = (mk − m0)/rk
      double factor = -b * weights[k] / ratios[k];
      factors[k + 1] = factor;
      factors[0] -= factor;
    }
    double end = answerAtEnd == null ? 0 : -b * weights[order - 1];
    factors[0] -= end;
    Tensor next = new Affine(state, 1).apply(z, answers.weighted(factors));
    return answerAtEnd == null ? next : new Affine(1, end).apply(next, answerAtEnd);
  }

  /** ρ of the older levels and, for the corrector, of the end. */
  private double[] weights(double[] ratios, double x, boolean corrector) {
    int unknowns = corrector ? ratios.length : ratios.length - 1;
    if (unknowns == 1) {
      return new double[] {0.5}; // the limit h → 0, as the authors have it
    }
    double[][] system = new double[unknowns][unknowns + 1];
    double base = bh1 ? x : Math.expm1(x);
    double phi = Math.expm1(x) / x - 1;
    double factorial = 1;
    for (int i = 0; i < unknowns; i++) {
      for (int j = 0; j < unknowns; j++) {
        system[i][j] = Math.pow(ratios[j], i);
      }
      system[i][unknowns] = phi * factorial / base;
      factorial *= i + 2;
      phi = phi / x - 1 / factorial;
    }
    return solve(system);
  }

  /** Gauss-Jordan elimination of [A | b], with pivots. */
  private static double[] solve(double[][] system) {
    int n = system.length;
    for (int column = 0; column < n; column++) {
      int pivot = column;
      for (int row = column + 1; row < n; row++) {
        if (Math.abs(system[row][column]) > Math.abs(system[pivot][column])) {
          pivot = row;
        }
      }
      double[] swap = system[pivot];
      system[pivot] = system[column];
      system[column] = swap;
      for (int row = 0; row < n; row++) {
        double factor = row == column ? 0 : system[row][column] / swap[column];
        for (int i = column; i <= n; i++) {
          system[row][i] -= factor * swap[i];
        }
      }
    }
    double[] solution = new double[n];
    Arrays.setAll(solution, i -> system[i][n] / system[i][i]);
    return solution;
  }

  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    return new Affine(sigmas.alpha(index), sigmas.noise(index)).apply(z0, noise);
  }

  @Override
  public void close() {
    answers.close();
    before.close();
  }
}
