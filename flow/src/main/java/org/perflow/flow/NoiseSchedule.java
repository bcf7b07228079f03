package org.perflow.flow;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleUnaryOperator;
import org.perflow.io.Json;
import org.perflow.io.Suggestions;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * The noise table of a variance-preserving diffusion model: z = √ᾱ z0 + √(1−ᾱ) ε at index 0
 * (cleanest) ... T−1 (noisiest). Built as PyTorch builds it: float32 betas, ᾱ = cumprod(1−β) in
 * float32, so that numbers agree with diffusers to the last bit. Immutable and thread-safe; no
 * native memory.
 *
 * <p>Below index 0 lies one more level, {@link #finalAlphaBar}: where every solver and every last
 * window ends. The official PeRFlow sampler always ends at ᾱ[0] while its solver reads the
 * teacher's {@code set_alpha_to_one}; here both read this one value.
 */
public final class NoiseSchedule {
  private static final List<String> SCHEDULES =
      List.of("linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "exp", "sigmoid");

  private final DType precision;
  private final double[] alphaBars;
  private final double finalAlphaBar;

  private NoiseSchedule(DType precision, double[] alphaBars, double finalAlphaBar) {
    this.precision = precision;
    this.alphaBars = alphaBars;
    this.finalAlphaBar = finalAlphaBar;
  }

  /**
   * The schedule of a {@code scheduler_config.json}, in float32. Missing keys take diffusers'
   * defaults of the class that {@code _class_name} names, DDIMScheduler where none is.
   *
   * @throws IllegalArgumentException on a beta_schedule that is not known, or a flow-matching
   *     model, which has none
   */
  public static NoiseSchedule of(JsonNode config) {
    return of(config, DType.F32);
  }

  /** Whether a scheduler config has one: those of flow matching have none. */
  public static boolean isIn(JsonNode config) {
    return SchedulerConfig.of(config).has("beta_schedule");
  }

  /** As {@link #of(JsonNode)}, in {@code precision}: F32 as PyTorch, or F64 for closed forms. */
  public static NoiseSchedule of(JsonNode config, DType precision) {
    try (Scope scope = Scope.open()) {
      SchedulerConfig known = SchedulerConfig.of(config);
      Tensor betas = betas(known, precision);
      if (known.zeroSnr()) {
        betas = rescaleToZeroTerminalSnr(betas);
      }
      double[] alphaBars = betas.neg().add(1).cumprod(0).toDoubleArray();
      return new NoiseSchedule(precision, alphaBars, alphaBars[0])
          .withAlphaToOne(setAlphaToOne(config));
    }
  }

  /** The {@code set_alpha_to_one} of a config, or the default of its class. */
  public static boolean setAlphaToOne(JsonNode config) {
    boolean byDefault = SchedulerConfig.of(config).flag("set_alpha_to_one");
    return config.path("set_alpha_to_one").asBoolean(byDefault);
  }

  /** Stable Diffusion's: scaled_linear 0.00085 to 0.012, T = 1000, ending at ᾱ[0]. */
  public static NoiseSchedule stableDiffusion() {
    return of(Json.MAPPER.createObjectNode().put("_class_name", SchedulerConfig.PERFLOW));
  }

  private static Tensor betas(SchedulerConfig config, DType precision) {
    if (!config.has("beta_schedule")) {
      throw new IllegalArgumentException(
          config.type() + " is for flow-matching models, which have no table of noise levels");
    }
    int count = config.integer("num_train_timesteps");
    if (config.has("trained_betas")) {
      double[] trained = config.numbers("trained_betas");
      if (trained.length != count) {
        throw new IllegalArgumentException(
            String.format(
                "trained_betas: got %d numbers, expected as many as num_train_timesteps, %d",
                trained.length, count));
      }
      return Tensor.of(trained).to(precision);
    }
    double start = config.number("beta_start");
    double end = config.number("beta_end");
    String key = "beta_schedule";
    String kind = config.text(key);
    return switch (kind) {
      case "linear" -> Tensor.linspace(start, end, count, precision);
      // Latent diffusion's own: linear in √β.
      case "scaled_linear" ->
          Tensor.linspace(Math.sqrt(start), Math.sqrt(end), count, precision).square();
      case "squaredcos_cap_v2" -> Tensor.of(betas(count, NoiseSchedule::cosine)).to(precision);
      case "laplace" -> Tensor.of(betas(count, NoiseSchedule::laplace)).to(precision);
      case "exp" -> Tensor.of(betas(count, t -> Math.exp(-12 * t))).to(precision);
      case "sigmoid" ->
          Tensor.linspace(-6, 6, count, precision).sigmoid().mul(end - start).add(start);
      default -> throw new IllegalArgumentException(Suggestions.unknown(key, kind, SCHEDULES));
    };
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

  /** Lin et al. 2023 (arXiv 2305.08891), algorithm 1: shifts √ᾱ so that the last is exactly 0. */
  private static Tensor rescaleToZeroTerminalSnr(Tensor betas) {
    Tensor root = betas.neg().add(1).cumprod(0).sqrt();
    Tensor first = root.narrow(0, 0, 1);
    Tensor last = root.narrow(0, root.size(0) - 1, 1);
    Tensor alphaBar = root.sub(last).mul(first.div(first.sub(last))).square();
    long rest = root.size(0) - 1;
    Tensor ratios = alphaBar.narrow(0, 1, rest).div(alphaBar.narrow(0, 0, rest));
    return Tensor.cat(0, alphaBar.narrow(0, 0, 1), ratios).neg().add(1);
  }

  /** The same table ending at ᾱ = 1 (clean data) or, where false, at ᾱ[0]. */
  public NoiseSchedule withAlphaToOne(boolean toOne) {
    return new NoiseSchedule(precision, alphaBars, toOne ? 1 : alphaBars[0]);
  }

  /** T, 1000 as a rule. */
  public int size() {
    return alphaBars.length;
  }

  /** ᾱ at index 0 ... T−1; {@link #finalAlphaBar} at any negative index. */
  public double alphaBar(int index) {
    return index < 0 ? finalAlphaBar : alphaBars[index];
  }

  /** The level that sampling ends at: ᾱ[0], or 1 where {@code set_alpha_to_one}. */
  public double finalAlphaBar() {
    return finalAlphaBar;
  }

  /** √ᾱ, the factor of the data, rounded as PyTorch rounds it. */
  public double alpha(int index) {
    return round(Math.sqrt(alphaBar(index)));
  }

  /** √(1−ᾱ), the factor of the noise, rounded as PyTorch rounds it. */
  public double sigma(int index) {
    return round(Math.sqrt(round(1 - alphaBar(index))));
  }

  private double round(double value) {
    return precision == DType.F32 ? (float) value : value;
  }

  /** Data and noise to the state at that index: α z0 + σ ε. */
  public Affine noised(int index) {
    return new Affine(alpha(index), sigma(index));
  }

  /** Signal-to-noise ratio ᾱ/(1−ᾱ), for loss weights. */
  public double snr(int index) {
    return alphaBar(index) / (1 - alphaBar(index));
  }

  /**
   * Data with noise added: row i is α z0 + σ ε at {@code indices[i]}.
   *
   * @param z0 data, [B, ...]
   * @param noise standard normal, [B, ...]
   * @return float32 [B, ...], owned by the caller's scope
   */
  public Tensor addNoise(Tensor z0, Tensor noise, int[] indices) {
    Affine[] each = new Affine[indices.length];
    Arrays.setAll(each, i -> noised(indices[i]));
    return Affine.apply(each, z0, noise);
  }
}
