package org.perflow.flow.sampler;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.perflow.io.Suggestions;
import org.perflow.models.SchedulerConfig;

/**
 * How N timesteps are laid over the T that a model was trained on (Lin et al. 2023, arXiv
 * 2305.08891, table 2). Only trailing and linspace start at the noisiest.
 */
enum TimestepSpacing {
  LEADING,
  LINSPACE,
  TRAILING;

  /** What a config says, or the default of its class. */
  static TimestepSpacing of(SchedulerConfig config) {
    return parse(config.text("timestep_spacing"));
  }

  private static TimestepSpacing parse(String key) {
    for (TimestepSpacing spacing : values()) {
      if (spacing.key().equals(key)) {
        return spacing;
      }
    }
    List<String> known = Arrays.stream(values()).map(TimestepSpacing::key).toList();
    throw new IllegalArgumentException(Suggestions.unknown("timestep_spacing", key, known));
  }

  private String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** N points, noisy to clean; linspace has both ends in it and is not rounded. */
  double[] points(int size, int steps, int offset) {
    check(size, steps);
    double[] points = new double[steps];
    for (int i = 0; i < steps; i++) {
      int ascending = steps - 1 - i;
      points[i] =
          switch (this) {
            case LEADING -> (double) ascending * (size / steps) + offset;
            case LINSPACE -> steps == 1 ? 0 : ascending * ((size - 1.0) / (steps - 1));
            case TRAILING -> trailing(size, steps, i);
          };
    }
    return checkStart(points, size, offset);
  }

  /** The noisy ends of N intervals, whole numbers; the clean end of the last is left out. */
  double[] intervals(int size, int steps, int offset) {
    check(size, steps);
    if (this == LEADING && steps == size) {
      throw new IllegalArgumentException(
          String.format(
              "got %d steps with timestep_spacing leading, which lays %d times over %d noise levels;"
                  + " use fewer steps, linspace or trailing",
              steps, steps + 1, size));
    }
    double[] starts = new double[steps];
    for (int i = 0; i < steps; i++) {
      int ascending = steps - i;
      starts[i] =
          switch (this) {
            case LEADING -> (double) ascending * (size / (steps + 1)) + offset;
            case LINSPACE -> Math.rint(ascending * ((size - 1.0) / steps));
            case TRAILING -> trailing(size, steps, i);
          };
    }
    return checkStart(starts, size, offset);
  }

  /** The width is rounded as in NumPy's {@code arange}, which halves like 968.5 are rounded by. */
  private static double trailing(int size, int steps, int i) {
    double width = size - (size - (double) size / steps);
    return Math.rint(size - i * width) - 1;
  }

  /** Refuses fewer steps than one and more than there are noise levels. */
  static void check(int size, int steps) {
    if (steps < 1 || steps > size) {
      throw new IllegalArgumentException(
          "got " + steps + " steps; want 1 to " + size + ", the noise levels of the model");
    }
  }

  private static double[] checkStart(double[] timesteps, int size, int offset) {
    if (timesteps[0] >= size) {
      throw new IllegalArgumentException(
          String.format(
              "%d steps with steps_offset %d start at %.0f, beyond the last noise level %d; use"
                  + " fewer steps",
              timesteps.length, offset, timesteps[0], size - 1));
    }
    return timesteps;
  }
}
