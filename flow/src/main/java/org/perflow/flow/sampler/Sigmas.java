package org.perflow.flow.sampler;

import java.util.Arrays;
import java.util.function.IntUnaryOperator;
import org.perflow.flow.NoiseSchedule;
import org.perflow.models.SchedulerConfig;

/**
 * The noise levels of a run as σ = √((1−ᾱ)/ᾱ), from noise to data, and the timesteps that go with
 * them: what all samplers outside the DDIM family step along. With z = (z0 + σ ε) / √(1 + σ²) the
 * data has factor α = 1/√(1 + σ²), the noise σ α, and λ = ln(α/σα) = −ln σ. Levels are rounded to
 * float32 as diffusers keeps them; arithmetic is double. Immutable.
 */
final class Sigmas {
  private final double[] timesteps; // [N]
  private final double[] sigmas; // [N + 1], the last is where the run ends

  private Sigmas(double[] timesteps, double[] sigmas) {
    this.timesteps = timesteps;
    this.sigmas = sigmas;
    for (int i = 0; i < timesteps.length; i++) {
      if (!(sigmas[i] > 0)) {
        throw new IllegalArgumentException(
            String.format(
                "step %d of %d is at a noise level of %s, and only the end of a run may be clean;"
                    + " beta_start or sigma_min is too small",
                i + 1, timesteps.length, sigmas[i]));
      }
    }
  }

  /** N timesteps (fractional with linspace) and their levels, then 0: Euler and Heun. */
  static Sigmas ofPoints(SchedulerConfig config, NoiseSchedule schedule, int steps) {
    double[] table = table(schedule);
    int offset = config.integer("steps_offset");
    double[] timesteps = floats(TimestepSpacing.of(config).points(table.length, steps, offset));
    double[] sigmas = Arrays.stream(timesteps).map(t -> interpolate(table, t)).toArray();
    double least = sigmas[steps - 1];
    double end = endsAtZero(config, true) ? 0 : table[0];
    boolean logLinear = config.has("interpolation_type") && logLinear(config);
    if (logLinear) {
      double max = Math.log(table[table.length - 1]);
      double[] all = SigmaSpacing.geometric(max, Math.log(table[0]), steps + 1);
      sigmas = Arrays.copyOf(all, steps);
      least = all[steps];
    }
    SigmaSpacing spacing = SigmaSpacing.of(config);
    if (spacing != null) {
      sigmas = spacing.levels(config, sigmas[0], least, steps);
      timesteps = floats(Arrays.stream(sigmas).map(s -> timestep(table, s)).toArray());
    } else if (logLinear) {
      end = least;
    }
    return new Sigmas(timesteps, withEnd(sigmas, end));
  }

  /** Where a run through levels of a spacing in σ ends that does not end at clean data. */
  enum SpreadEnd {
    TABLE,
    LAST_LEVEL
  }

  /** Which whole timestep goes with a level of a spacing in σ. */
  enum Timestep {
    NEAREST,
    BELOW
  }

  /**
   * The noisy ends of N intervals, whole timesteps: the exponential integrators.
   *
   * @param ending at the least level of the table, or at the last of the spacing, which makes the
   *     last step (and a run of one) go nowhere: diffusers' classes differ in that
   * @param timestep of Karras' and Lu's spacing; others take the one below
   */
  static Sigmas ofIntervals(
      SchedulerConfig config,
      NoiseSchedule schedule,
      int steps,
      SpreadEnd ending,
      Timestep timestep) {
    double[] table = table(schedule);
    double end = endsAtZero(config, false) ? 0 : table[0];
    SigmaSpacing spacing = SigmaSpacing.of(config);
    if (spacing == null) {
      double[] timesteps = intervals(config, table, steps);
      double[] sigmas = Arrays.stream(timesteps).map(t -> table[(int) t]).toArray();
      return new Sigmas(timesteps, withEnd(sigmas, end));
    }
    TimestepSpacing.check(table.length, steps);
    double[] sigmas = spacing.levels(config, table[table.length - 1], table[0], steps);
    boolean nearest =
        timestep == Timestep.NEAREST
            && (spacing == SigmaSpacing.KARRAS || spacing == SigmaSpacing.LU);
    double[] timesteps = Arrays.stream(sigmas).map(s -> timestep(table, s)).toArray();
    Arrays.setAll(timesteps, i -> nearest ? Math.rint(timesteps[i]) : Math.floor(timesteps[i]));
    boolean stands = end != 0 && ending == SpreadEnd.LAST_LEVEL;
    return new Sigmas(timesteps, withEnd(sigmas, stands ? sigmas[steps - 1] : end));
  }

  private static double[] intervals(SchedulerConfig config, double[] table, int steps) {
    int size = table.length - clipped(config, table);
    return config.has("timestep_spacing")
        ? TimestepSpacing.of(config).intervals(size, steps, config.integer("steps_offset"))
        : TimestepSpacing.LINSPACE.intervals(size, steps, 0);
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
            ? Arrays.copyOf( // but the last, 0
                SigmaSpacing.ramp(steps + 1, x -> shift(shift, 1 - x)), steps)
            : SigmaSpacing.ramp(steps, x -> shift(shift, (max + x * (min - max)) / size));
    SigmaSpacing spacing = SigmaSpacing.of(config);
    if (spacing != null) {
      sigmas = spacing.levels(config, sigmas[0], sigmas[steps - 1], steps);
    }
    double[] levels = floats(sigmas);
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

  private static boolean endsAtZero(SchedulerConfig config, boolean byDefault) {
    String key = "final_sigmas_type";
    return config.has(key)
        ? SchedulerConfig.oneOf(key, config.text(key), "zero", "sigma_min").equals("zero")
        : byDefault;
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

  private static double interpolate(double[] table, double timestep) {
    int below = (int) timestep;
    if (below == table.length - 1) {
      return table[below];
    }
    return table[below] + (table[below + 1] - table[below]) * (timestep - below);
  }

  /** The fractional training index of a level, linear in ln σ. */
  private static double timestep(double[] table, double sigma) {
    if (table.length == 1) {
      return 0;
    }
    double log = Math.log(Math.max(sigma, 1e-10));
    int below = table.length - 1; // from there, since 4096 at pure noise may not be the most
    while (below > 0 && (float) Math.log(table[below]) > log) {
      below--;
    }
    below = Math.min(below, table.length - 2);
    double low = (float) Math.log(table[below]);
    double high = (float) Math.log(table[below + 1]);
    double weight = Math.min(Math.max((low - log) / (float) (low - high), 0), 1);
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

  /**
   * Refuses two steps at one level, as N = T steps of a linspace have, where a method takes the
   * slope between them.
   *
   * @param order of the method at each step: how many levels up to that step's it looks at
   */
  void requireSlopes(IntUnaryOperator order) {
    for (int i = 1; i < steps(); i++) {
      if (order.applyAsInt(i) > 1 && sigmas[i] == sigmas[i - 1]) {
        throw new IllegalArgumentException(
            String.format(
                "got %d steps, two of which are at one noise level, σ = %s, so that there is no slope"
                    + " between them; use fewer steps, another spacing or solver_order 1",
                steps(), sigmas[i]));
      }
    }
  }

  /**
   * Refuses steps to more noise, which cannot be drawn anew: a schedule that goes beyond 4096,
   * which stands for pure noise, falls and rises again.
   */
  void requireFalling() {
    for (int i = 0; i < steps(); i++) {
      if (sigmas[i + 1] > sigmas[i] * (1 + 1e-6)) { // but for the rounding of spread levels
        throw new IllegalArgumentException(
            String.format(
                "noise rises from σ = %s to %s after step %d; fewer steps, a sampler that adds no"
                    + " noise or another noise schedule would do",
                sigmas[i], sigmas[i + 1], i + 1));
      }
    }
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
