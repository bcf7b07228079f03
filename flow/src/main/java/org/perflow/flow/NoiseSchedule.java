package org.perflow.flow;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import org.perflow.io.Json;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;

/**
 * The noise table of a variance-preserving diffusion model: z = √ᾱ z0 + √(1−ᾱ) ε at index 0
 * (cleanest) ... T−1 (noisiest). Built as PyTorch builds it: float32 betas, ᾱ = cumprod(1−β) in
 * float32, so that numbers agree with diffusers to the last bit, and on every processor. Immutable
 * and thread-safe; no native memory.
 *
 * <p>Below index 0 lies one more level, {@link #finalAlphaBar}: where every solver and every last
 * window ends. The official PeRFlow sampler always ends at ᾱ[0] while its solver reads the
 * teacher's {@code set_alpha_to_one}; here both read this one value.
 */
public final class NoiseSchedule {
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
    SchedulerConfig known = SchedulerConfig.of(config);
    if (!known.has("beta_schedule")) {
      throw new IllegalArgumentException(
          known.type() + " is for flow-matching models, which have no table of noise levels");
    }
    double[] alphaBars = new NoiseTable(precision).alphaBars(known);
    return new NoiseSchedule(precision, alphaBars, alphaBars[0])
        .withAlphaToOne(setAlphaToOne(config));
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
