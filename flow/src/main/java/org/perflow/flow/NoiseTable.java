package org.perflow.flow;

import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleUnaryOperator;
import org.perflow.io.Suggestions;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.DType;

/**
 * ᾱ = Π(1 − β) at every index of a {@code scheduler_config.json}'s noise schedule. In float32 every
 * operation is rounded as PyTorch's kernels of processors with fused multiplication do (those of
 * older ones differ in the last bit, which a thousand steps make visible), on the host: the same
 * numbers everywhere. Immutable.
 */
record NoiseTable(DType precision) {
  private static final List<String> SCHEDULES =
      List.of("linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "exp", "sigmoid");

  /** Of a config, cleanest first. */
  double[] alphaBars(SchedulerConfig config) {
    double[] betas = betas(config);
    return products(config.zeroSnr() ? rescaledToZeroTerminalSnr(betas) : betas);
  }

  private double round(double value) {
    return precision == DType.F32 ? (float) value : value;
  }

  private double[] each(double[] values, DoubleUnaryOperator operator) {
    return Arrays.stream(values).map(operator).map(this::round).toArray();
  }

  private double[] betas(SchedulerConfig config) {
    int count = config.integer("num_train_timesteps");
    if (config.has("trained_betas")) {
      double[] trained = config.numbers("trained_betas");
      if (trained.length != count) {
        throw new IllegalArgumentException(
            String.format(
                "trained_betas: got %d numbers, expected as many as num_train_timesteps, %d",
                trained.length, count));
      }
      return each(trained, beta -> beta);
    }
    double start = config.number("beta_start");
    double end = config.number("beta_end");
    String key = "beta_schedule";
    String kind = config.text(key);
    return switch (kind) {
      case "linear" -> linspace(start, end, count);
      // Latent diffusion's own: linear in √β.
      case "scaled_linear" ->
          each(linspace(Math.sqrt(start), Math.sqrt(end), count), root -> root * root);
      case "squaredcos_cap_v2" -> each(betas(count, NoiseTable::cosine), beta -> beta);
      case "laplace" -> each(betas(count, NoiseTable::laplace), beta -> beta);
      case "exp" -> each(betas(count, t -> Math.exp(-12 * t)), beta -> beta);
      case "sigmoid" -> { // GeoDiff, arXiv 2203.02923
        double[] sigmoids = each(linspace(-6, 6, count), x -> 1 / (1 + Math.exp(-x)));
        double[] scaled = each(sigmoids, s -> s * round(end - start));
        yield each(scaled, s -> s + round(start));
      }
      default -> throw new IllegalArgumentException(Suggestions.unknown(key, kind, SCHEDULES));
    };
  }

  /** From both ends to the middle, as PyTorch does. */
  private double[] linspace(double start, double end, int count) {
    double from = round(start);
    double to = round(end);
    double step = count == 1 ? 0 : round(round(to - from) / (count - 1));
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      boolean firstHalf = i < count / 2 || count == 1;
      values[i] = round(firstHalf ? Math.fma(step, i, from) : Math.fma(-step, count - 1 - i, to));
    }
    return values;
  }

  /** Those of ᾱ(t), capped at 0.999. */
  private static double[] betas(int count, DoubleUnaryOperator alphaBar) {
    double[] betas = new double[count];
    for (int i = 0; i < count; i++) {
      double next = alphaBar.applyAsDouble((i + 1.0) / count);
      betas[i] = Math.min(1 - next / alphaBar.applyAsDouble((double) i / count), 0.999);
    }
    return betas;
  }

  /** Nichol and Dhariwal 2021 (arXiv 2102.09672), eq. 17. */
  private static double cosine(double t) {
    double c = Math.cos((t + 0.008) / 1.008 * Math.PI / 2);
    return c * c;
  }

  /** Hang et al. 2024 (arXiv 2407.03297), with the root that diffusers draws from it. */
  private static double laplace(double t) {
    double away = Math.abs(0.5 - t);
    double snr = Math.exp(-0.5 * Math.copySign(1, 0.5 - t) * Math.log(1 - 2 * away + 1e-6));
    return Math.sqrt(snr / (1 + snr));
  }

  /** The running products are kept in double, and rounded. */
  private double[] products(double[] betas) {
    double[] alphaBars = each(betas, beta -> 1 - beta);
    double product = 1;
    for (int i = 0; i < alphaBars.length; i++) {
      product *= alphaBars[i];
      alphaBars[i] = round(product);
    }
    return alphaBars;
  }

  /** Lin et al. 2023 (arXiv 2305.08891), algorithm 1: shifts √ᾱ so that the last is exactly 0. */
  private double[] rescaledToZeroTerminalSnr(double[] betas) {
    double[] roots = each(products(betas), Math::sqrt);
    double first = roots[0];
    double last = roots[roots.length - 1];
    double scale = round(first / round(first - last));
    double[] shifted = each(each(roots, root -> root - last), root -> root * scale);
    double[] alphaBars = each(shifted, root -> root * root);
    double[] alphas = alphaBars.clone(); // of one step
    for (int i = 1; i < alphas.length; i++) {
      alphas[i] = round(alphaBars[i] / alphaBars[i - 1]);
    }
    return each(alphas, alpha -> 1 - alpha);
  }
}
