package org.perflow.flow.sampler;

import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleUnaryOperator;
import org.jspecify.annotations.Nullable;
import org.perflow.models.SchedulerConfig;

/** How N levels are laid out between the most and the least noise, apart from any timesteps. */
enum SigmaSpacing {
  /** Karras et al. 2022 (arXiv 2206.00364), eq. 5. */
  KARRAS("use_karras_sigmas"),
  /** Uniform in λ = −ln σ. */
  EXPONENTIAL("use_exponential_sigmas"),
  /** The same (Lu et al. 2022, arXiv 2206.00927, section 3.3), between float32 ends. */
  LU("use_lu_lambdas"),
  /** Quantiles of Beta(0.6, 0.6) (Lee et al. 2024, arXiv 2407.12173). */
  BETA("use_beta_sigmas");

  private static final double KARRAS_RHO = 7;

  private final String key;

  SigmaSpacing(String key) {
    this.key = key;
  }

  /** What a config asks for; null where levels follow timesteps. */
  static @Nullable SigmaSpacing of(SchedulerConfig config) {
    List<SigmaSpacing> wanted =
        Arrays.stream(values()).filter(spacing -> config.flag(spacing.key)).toList();
    if (wanted.size() > 1) {
      throw new IllegalArgumentException(
          "use_karras_sigmas, use_exponential_sigmas, use_lu_lambdas and use_beta_sigmas exclude"
              + " one another; set one of them");
    }
    return wanted.isEmpty() ? null : wanted.get(0);
  }

  /** N levels from {@code max} to {@code min}, or between those that a config has itself. */
  double[] levels(SchedulerConfig config, double first, double last, int steps) {
    double max = config.has("sigma_max") ? config.number("sigma_max") : first;
    double min = config.has("sigma_min") ? config.number("sigma_min") : last;
    return switch (this) {
      case KARRAS -> karras(max, min, steps);
      case EXPONENTIAL -> geometric(Math.log(max), Math.log(min), steps);
      case LU -> geometric((float) Math.log(max), (float) Math.log(min), steps);
      case BETA -> ramp(steps, x -> min + betaQuantile(1 - x) * (max - min));
    };
  }

  private static double[] karras(double max, double min, int steps) {
    double from = Math.pow(max, 1 / KARRAS_RHO);
    double to = Math.pow(min, 1 / KARRAS_RHO);
    return ramp(steps, x -> Math.pow(from + x * (to - from), KARRAS_RHO));
  }

  /** N levels whose logarithms are evenly spaced, both ends among them. */
  static double[] geometric(double from, double to, int steps) {
    return ramp(steps, x -> Math.exp(from + x * (to - from)));
  }

  /** {@code value} at N places from 0 to 1, both ends among them; at 0 where N is one. */
  static double[] ramp(int steps, DoubleUnaryOperator value) {
    double[] levels = new double[steps];
    Arrays.setAll(levels, i -> value.applyAsDouble(steps == 1 ? 0 : i / (steps - 1.0)));
    return levels;
  }

  /** The distribution is symmetric, so halves suffice and Γ cancels. */
  private static double betaQuantile(double p) {
    if (p > 0.5) {
      return 1 - betaQuantile(1 - p);
    }
    double low = 0;
    double high = 0.5;
    double half = incompleteBeta(0.5);
    for (int i = 0; i < 60; i++) {
      double middle = (low + high) / 2;
      if (incompleteBeta(middle) / half < 2 * p) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return (low + high) / 2;
  }

  /** ∫₀ˣ u^(a−1) (1−u)^(a−1) du for x ≤ ½ by its power series, a = 0.6. */
  private static double incompleteBeta(double x) {
    double a = 0.6;
    double term = 1;
    double sum = 0;
    for (int k = 0; k < 80; k++) {
      sum += term / (a + k);
      term *= x * (k + 1 - a) / (k + 1);
    }
    return Math.pow(x, a) * sum;
  }
}
