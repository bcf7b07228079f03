package org.perflow.flow.sampler;

import java.util.Arrays;
import java.util.function.DoubleUnaryOperator;
import org.perflow.flow.NoiseSchedule;
import org.perflow.models.SchedulerConfig;

/**
 * The noise levels of a run as σ = √((1−ᾱ)/ᾱ), from noise to data, and the timesteps that go with
 * them: what all samplers outside the DDIM family step along. With z = (z0 + σ ε) / √(1 + σ²) the
 * data has factor α = 1/√(1 + σ²), the noise σ α, and λ = ln(α/σα) = −ln σ. Levels are rounded to
 * float32 as diffusers keeps them; arithmetic is double. Immutable.
 */
final class Sigmas {
  private static final double KARRAS_RHO = 7;

  private final double[] timesteps; // [N]
  private final double[] sigmas; // [N + 1], the last is where the run ends

  private Sigmas(double[] timesteps, double[] sigmas) {
    this.timesteps = timesteps;
    this.sigmas = sigmas;
  }

  /** N timesteps (fractional with linspace) and their levels, then 0: Euler and Heun. */
  static Sigmas ofPoints(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    double[] table = table(schedule);
    int offset = config.integer("steps_offset");
    double[] timesteps = floats(TimestepSpacing.of(config).points(table.length, steps, offset));
    double[] sigmas = Arrays.stream(timesteps).map(t -> interpolate(table, t)).toArray();
    double end = last(config, table[0], End.ZERO);
    if (config.has("interpolation_type") && logLinear(config)) {
      double[] all = geometric(table[table.length - 1], table[0], steps + 1);
      sigmas = Arrays.copyOf(all, steps);
      end = all[steps];
    }
    double[] spread = spread(config, sigmas[0], sigmas[steps - 1], steps);
    if (spread.length > 0) {
      sigmas = spread;
      timesteps = floats(Arrays.stream(spread).map(s -> timestep(table, s)).toArray());
    }
    return new Sigmas(timesteps, withEnd(sigmas, end));
  }

  /** Where a run ends: at clean data, or at the least noise of the table. */
  enum End {
    ZERO,
    SIGMA_MIN
  }

  /** Which whole timestep goes with a level of a spacing in σ. */
  enum Timestep {
    NEAREST,
    BELOW
  }

  /** The noisy ends of N intervals, whole timesteps: the exponential integrators. */
  static Sigmas ofIntervals(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    return ofIntervals(config, schedule, steps, End.ZERO, Timestep.NEAREST);
  }

  /**
   * The same.
   *
   * @param byDefault the end where the config's class has no {@code final_sigmas_type}
   * @param timestep of Karras' and Lu's spacing; others take the one below
   */
  static Sigmas ofIntervals(
      SchedulerConfig config, NoiseSchedule schedule, int steps, End byDefault, Timestep timestep) {
    double[] table = table(schedule);
    int size = table.length - clipped(config, table);
    double[] timesteps =
        config.has("timestep_spacing")
            ? TimestepSpacing.of(config).intervals(size, steps, config.integer("steps_offset"))
            : TimestepSpacing.LINSPACE.intervals(size, steps, 0);
    double[] sigmas = Arrays.stream(timesteps).map(t -> table[(int) t]).toArray();
    double end = last(config, table[0], byDefault);
    double[] spread = spread(config, table[table.length - 1], table[0], steps);
    if (spread.length > 0) {
      sigmas = spread;
      boolean rounded =
          timestep == Timestep.NEAREST
              && (config.flag("use_karras_sigmas") || config.flag("use_lu_lambdas"));
      timesteps =
          Arrays.stream(spread)
              .map(s -> timestep(table, s))
              .map(t -> rounded ? Math.rint(t) : Math.floor(t))
              .toArray();
      end = end == 0 ? 0 : spread[steps - 1];
    }
    return new Sigmas(timesteps, withEnd(sigmas, end));
  }

  /** Flow matching: σ in (0, 1], z = (1 − σ) z0 + σ ε, timesteps T σ; then 0. */
  static Sigmas ofFlow(SchedulerConfig config, int steps) {
    int size = config.integer("num_train_timesteps");
    double shift = config.number("shift");
    if (steps < 1 || steps > size || !(shift > 0)) {
      throw new IllegalArgumentException(
          String.format(
              "got %d steps and shift %s; want 1 to %d steps and a positive shift",
              steps, shift, size));
    }
    double max = (float) shift(shift, 1) * size;
    double min = (float) shift(shift, (float) (1.0 / size)) * size;
    double[] sigmas =
        trailing(config)
            ? Arrays.copyOf(ramp(steps + 1, x -> shift(shift, 1 - x)), steps) // but the last, 0
            : ramp(steps, x -> shift(shift, (max + x * (min - max)) / size));
    double[] spread = spread(config, sigmas[0], sigmas[steps - 1], steps);
    double[] levels = floats(spread.length > 0 ? spread : sigmas);
    double[] timesteps = floats(Arrays.stream(levels).map(sigma -> sigma * size).toArray());
    return new Sigmas(timesteps, withEnd(levels, 0));
  }

  private static boolean trailing(SchedulerConfig config) {
    String key = "timestep_spacing";
    return config.has(key)
        && SchedulerConfig.oneOf(key, config.text(key), "trailing").equals("trailing");
  }

  private static double shift(double shift, double sigma) {
    return shift * sigma / (1 + (shift - 1) * sigma);
  }

  /** σ of every training index, clean to noisy. With zero terminal SNR the last is 4096, not ∞. */
  private static double[] table(NoiseSchedule schedule) {
    double[] table = new double[schedule.size()];
    for (int i = 0; i < table.length; i++) {
      double alphaBar = schedule.alphaBar(i) == 0 ? 0x1p-24 : schedule.alphaBar(i);
      table[i] = (float) Math.sqrt((float) ((float) (1 - alphaBar) / alphaBar));
    }
    return table;
  }

  private static double last(SchedulerConfig config, double sigmaMin, End byDefault) {
    String key = "final_sigmas_type";
    boolean zero =
        config.has(key)
            ? SchedulerConfig.oneOf(key, config.text(key), "zero", "sigma_min").equals("zero")
            : byDefault == End.ZERO;
    return zero ? 0 : sigmaMin;
  }

  private static boolean logLinear(SchedulerConfig config) {
    String kind = config.text("interpolation_type");
    return SchedulerConfig.oneOf("interpolation_type", kind, "linear", "log_linear")
        .equals("log_linear");
  }

  /** How many of the noisiest levels {@code lambda_min_clipped} leaves out (cosine schedules). */
  private static int clipped(SchedulerConfig config, double[] table) {
    if (!config.has("lambda_min_clipped")) {
      return 0;
    }
    double min = config.number("lambda_min_clipped");
    int clipped = (int) Arrays.stream(table).filter(sigma -> -Math.log(sigma) < min).count();
    if (clipped > 0
        && config.has("timestep_spacing")
        && TimestepSpacing.of(config) == TimestepSpacing.TRAILING) {
      throw new IllegalArgumentException(
          "lambda_min_clipped and timestep_spacing trailing exclude each other: trailing starts at"
              + " the level that is clipped; use linspace or leading");
    }
    return clipped;
  }

  /**
   * N levels from max to min in the spacing that the config asks for; empty if it asks for none.
   */
  private static double[] spread(SchedulerConfig config, double first, double last, int steps) {
    double max = config.has("sigma_max") ? config.number("sigma_max") : first;
    double min = config.has("sigma_min") ? config.number("sigma_min") : last;
    boolean karras = config.flag("use_karras_sigmas");
    boolean exponential = config.flag("use_exponential_sigmas") || config.flag("use_lu_lambdas");
    boolean beta = config.flag("use_beta_sigmas");
    if ((karras ? 1 : 0) + (exponential ? 1 : 0) + (beta ? 1 : 0) > 1) {
      throw new IllegalArgumentException(
          "use_karras_sigmas, use_exponential_sigmas, use_lu_lambdas and use_beta_sigmas exclude"
              + " one another; set one of them");
    }
    if (karras) {
      return karras(max, min, steps);
    }
    if (exponential) {
      return geometric(max, min, steps);
    }
    return beta ? beta(max, min, steps) : new double[0];
  }

  /** Karras et al. 2022 (arXiv 2206.00364), eq. 5. */
  private static double[] karras(double max, double min, int steps) {
    double from = Math.pow(max, 1 / KARRAS_RHO);
    double to = Math.pow(min, 1 / KARRAS_RHO);
    return ramp(steps, x -> Math.pow(from + x * (to - from), KARRAS_RHO));
  }

  /** Uniform in λ (Lu et al. 2022, arXiv 2206.00927, section 3.3). */
  private static double[] geometric(double max, double min, int steps) {
    double from = Math.log(max);
    double to = Math.log(min);
    return ramp(steps, x -> Math.exp(from + x * (to - from)));
  }

  /** Quantiles of Beta(0.6, 0.6) (Lee et al. 2024, arXiv 2407.12173). */
  private static double[] beta(double max, double min, int steps) {
    return ramp(steps, x -> min + betaQuantile(1 - x) * (max - min));
  }

  private static double[] ramp(int steps, DoubleUnaryOperator value) {
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

  private static double interpolate(double[] table, double timestep) {
    int below = Math.min((int) timestep, table.length - 2);
    return table[below] + (table[below + 1] - table[below]) * (timestep - below);
  }

  /** The fractional training index of a level, linear in ln σ. */
  private static double timestep(double[] table, double sigma) {
    double log = Math.log(Math.max(sigma, 1e-10));
    int below = 0;
    while (below < table.length - 2 && (float) Math.log(table[below + 1]) <= log) {
      below++;
    }
    double low = (float) Math.log(table[below]);
    double high = (float) Math.log(table[below + 1]);
    double weight = Math.min(Math.max((low - log) / (low - high), 0), 1);
    return (1 - weight) * below + weight * (below + 1);
  }

  private static double[] withEnd(double[] sigmas, double end) {
    double[] all = Arrays.copyOf(sigmas, sigmas.length + 1);
    all[sigmas.length] = end;
    return floats(all);
  }

  private static double[] floats(double[] values) {
    return Arrays.stream(values).map(value -> (float) value).toArray();
  }

  /** N. */
  int steps() {
    return timesteps.length;
  }

  double[] timesteps() {
    return timesteps.clone();
  }

  double timestep(int index) {
    return timesteps[index];
  }

  /** σ at 0 ... N; N is the end of the run. */
  double sigma(int index) {
    return sigmas[index];
  }

  /** The factor of the data in a state of variance one. */
  double alpha(int index) {
    return 1 / Math.sqrt(sigmas[index] * sigmas[index] + 1);
  }

  /** The factor of the noise in a state of variance one. */
  double noise(int index) {
    return sigmas[index] * alpha(index);
  }

  /** ln(alpha/noise): half the log of the signal-to-noise ratio, +∞ at σ = 0. */
  double lambda(int index) {
    return -Math.log(sigmas[index]);
  }

  /** The largest level. */
  double max() {
    return Arrays.stream(sigmas).max().orElseThrow();
  }
}
