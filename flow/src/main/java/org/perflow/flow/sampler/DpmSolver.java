package org.perflow.flow.sampler;

import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Tensor;

/**
 * The exact solution of the diffusion ODE (or SDE) for an answer that is constant or linear in λ =
 * ln(α/σ): the coefficients that DPM-Solver (Lu et al. 2022, arXiv 2206.00927, noise form) and
 * DPM-Solver++ (arXiv 2211.01095, data form) build all their steps from. With h = λ(to) − λ(from),
 * answers m (predicted noise or data) and differences D1 ≈ h m′, D2 ≈ h² m″,
 *
 * <pre>z(to) = state z(from) + constant m + linear D1 + quadratic D2 + noise n.</pre>
 */
final class DpmSolver {
  private final String algorithm;
  private final boolean midpoint;
  private final DataBound bound;

  /**
   * The algorithm of a config.
   *
   * @throws IllegalArgumentException on names that are not among {@code algorithms}
   */
  DpmSolver(SchedulerConfig config, String... algorithms) {
    config.refuse("use_flow_sigmas", "use_dynamic_shifting", "variance_type");
    String given = config.text("algorithm_type");
    // What another class calls its own way is this class's usual one, as in diffusers.
    this.algorithm =
        given.equals("deis")
            ? "dpmsolver++"
            : SchedulerConfig.oneOf("algorithm_type", given, algorithms);
    this.midpoint = midpoint(config.text("solver_type"));
    this.bound = DataBound.of(config);
    int order = config.integer("solver_order");
    if (order < 1 || order > 3) {
      throw new IllegalArgumentException("solver_order is " + order + "; want 1, 2 or 3");
    }
    if (!predictsData() && config.text("final_sigmas_type").equals("zero")) {
      throw new IllegalArgumentException(
          algorithm + " cannot step to final_sigmas_type zero; set it to sigma_min");
    }
  }

  private static boolean midpoint(String type) {
    return switch (type) {
      case "midpoint", "logrho", "bh1", "bh2" -> true; // the latter are other classes' names
      default -> SchedulerConfig.oneOf("solver_type", type, "midpoint", "heun").equals("midpoint");
    };
  }

  /** Coefficients of one step, as in the class comment. */
  record Step(double state, double constant, double linear, double quadratic, double noise) {}

  /** Whether answers are kept as predicted data; else as predicted noise. */
  boolean predictsData() {
    return algorithm.endsWith("++");
  }

  boolean stochastic() {
    return algorithm.startsWith("sde-");
  }

  /** Refuses what takes D2 with fresh noise: diffusers has a wrong sign there. */
  void refuseStochasticThird(int order) {
    if (order == 3 && stochastic()) {
      throw new IllegalArgumentException(
          algorithm + " has no third order here (diffusers' has a wrong sign); set solver_order 2");
    }
  }

  boolean isMidpoint() {
    return midpoint;
  }

  /** A network's output at state {@code z} of level {@code index} as an answer. */
  Tensor answer(PredictionType prediction, Sigmas sigmas, int index, Tensor z, Tensor output) {
    double alpha = sigmas.alpha(index);
    double noise = sigmas.noise(index);
    return predictsData()
        ? bound.data(prediction, alpha, noise, z, output)
        : bound.noise(prediction, alpha, noise, z, output);
  }

  /** From level {@code from} to {@code to}, which is not noisier. */
  Step step(Sigmas sigmas, int from, int to) {
    double h = sigmas.lambda(to) - sigmas.lambda(from);
    double alpha = sigmas.alpha(to);
    double sigma = sigmas.noise(to);
    double data = sigma / sigmas.noise(from);
    double noise = alpha / sigmas.alpha(from);
    return switch (algorithm) {
      case "dpmsolver++" -> step(data, alpha, -h, 0);
      case "dpmsolver" -> step(noise, sigma, h, 0);
      case "sde-dpmsolver++" ->
          step(data * Math.exp(-h), alpha, -2 * h, sigma * root(-Math.expm1(-2 * h)));
      default -> // sde-dpmsolver: twice the drift of the ODE
          step(noise, 2 * sigma, h, sigma * root(Math.expm1(2 * h)));
    };
  }

  /** Of a variance that is none but for rounding where two levels are nearly one. */
  private static double root(double variance) {
    return Math.sqrt(Math.max(variance, 0));
  }

  /** e^x with one, two and three terms of its series gone: x = −h (−2h) for data, h for noise. */
  private static Step step(double state, double scale, double x, double noise) {
    if (x == 0) {
      return new Step(state, 0, 0, 0, 0); // two levels that are one
    }
    double one = Math.expm1(x);
    double two = one / x - 1;
    double three = two / x - 0.5;
    return new Step(state, -scale * one, -scale * two, -scale * three, noise);
  }

  /** The coefficient of D1 in a step of second order. */
  double slope(Step step) {
    return midpoint ? step.constant / 2 : step.linear;
  }
}
