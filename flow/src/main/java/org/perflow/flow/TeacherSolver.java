package org.perflow.flow;

/**
 * How the teacher's probability-flow ODE is solved, step by step. Each step is DDIM's and, from the
 * second order on, a multiple of how much the teacher's answer m changed,
 *
 * <pre>z(to) = DDIM(z(from)) + k (m − m′),</pre>
 *
 * with λ = ln(α/σ), h = λ(to) − λ(from) > 0 and h′ the h of the step before. A step stays DDIM's (k
 * = 0) where a method has nothing to compare with (the first of a multistep method), where it
 * starts at pure noise (α = 0, λ = −∞) and where it ends at clean data (σ = 0, λ = ∞).
 */
public enum TeacherSolver {
  /** DDIM (Song et al. 2021, arXiv 2010.02502): first order; the paper's. One evaluation a step. */
  DDIM,

  /**
   * DPM-Solver++ 2M (Lu et al. 2022, arXiv 2211.01095, algorithm 2): second order, from the data
   * predicted here and a step before. One evaluation a step; stands strong guidance best.
   */
  DPMPP_2M,

  /**
   * DEIS (Zhang and Chen 2022, arXiv 2204.13902), Adams-Bashforth in ln ρ, ρ = σ/α, with two
   * points: second order, from the noise predicted here and a step before. One evaluation a step.
   */
  DEIS_2,

  /**
   * Heun's method in ρ = σ/α (Karras et al. 2022, arXiv 2206.00364, algorithm 1): second order,
   * from the noise predicted here and at the step's end. Two evaluations a step.
   */
  HEUN;

  /** Network evaluations that a step costs: 2 for Heun. */
  public int evaluationsPerStep() {
    return this == HEUN ? 2 : 1;
  }

  /**
   * Steps that cost {@code evaluations}.
   *
   * @throws IllegalArgumentException where they make no whole number of steps, or none
   */
  public int steps(int evaluations) {
    if (evaluations < 1) {
      throw new IllegalArgumentException("got " + evaluations + " solver steps; want at least 1");
    }
    if (evaluations % evaluationsPerStep() != 0) {
      throw new IllegalArgumentException(
          String.format(
              "got %d evaluations for the solver heun, each step of which takes two; want an even"
                  + " number",
              evaluations));
    }
    return evaluations / evaluationsPerStep();
  }

  /** The answer m at a level as a·z + b·output: predicted data for DPM-Solver++, else noise. */
  Affine answer(NoiseSchedule schedule, PredictionType prediction, int index) {
    double alpha = schedule.alpha(index);
    double sigma = schedule.sigma(index);
    return this == DPMPP_2M ? prediction.data(alpha, sigma) : prediction.noise(alpha, sigma);
  }

  /**
   * k of a step {@code from} → {@code to}. For Heun m is the answer at the end and m′ the one at
   * the start; for the others m is the one at the start and m′ that of the step before.
   *
   * @param before where the step before started; {@code from} itself if there was none
   */
  double correction(NoiseSchedule schedule, int before, int from, int to) {
    double alpha = schedule.alpha(to);
    double sigma = schedule.sigma(to);
    double h = lambda(schedule, to) - lambda(schedule, from);
    if (this == DDIM || sigma == 0 || schedule.alpha(from) == 0) {
      return 0;
    }
    if (this == HEUN) {
      double step = sigma / alpha - schedule.sigma(from) / schedule.alpha(from); // in ρ
      return alpha * step / 2;
    }
    double earlier = lambda(schedule, from) - lambda(schedule, before);
    if (earlier == 0 || schedule.alpha(before) == 0) {
      return 0;
    }
    return this == DPMPP_2M
        ? -alpha * Math.expm1(-h) / 2 * h / earlier
        // −α ∫ (ln ρ − ln ρ(from)) dρ / h′ over the step
        : -sigma * (Math.expm1(h) - h) / earlier;
  }

  private static double lambda(NoiseSchedule schedule, int index) {
    return Math.log(schedule.alpha(index) / schedule.sigma(index));
  }
}
