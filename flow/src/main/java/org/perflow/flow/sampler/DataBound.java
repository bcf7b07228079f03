package org.perflow.flow.sampler;

import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Tensor;

/**
 * What keeps predicted data in range before a step is made of it: clipping to a constant ({@code
 * clip_sample}), or dynamic thresholding ({@code thresholding}; Saharia et al. 2022, arXiv
 * 2205.11487, section 2.3): clipping each picture to a quantile s of its own magnitudes, s ≥ 1, and
 * dividing by s. Both are for pixels, not for latents.
 *
 * @param clip the constant, ∞ for none; of no meaning with a quantile
 * @param quantile 0 ... 1, NaN for none
 * @param most the largest s
 */
record DataBound(double clip, double quantile, double most) {

  /** As a config says; thresholding comes before clipping. */
  static DataBound of(SchedulerConfig config) {
    if (config.flag("thresholding")) {
      double quantile = config.number("dynamic_thresholding_ratio");
      return new DataBound(0, quantile, config.number("sample_max_value"));
    }
    double clip =
        config.flag("clip_sample") ? config.number("clip_sample_range") : Double.POSITIVE_INFINITY;
    return new DataBound(clip, Double.NaN, 0);
  }

  /** Whether data is left as it is. */
  boolean isNone() {
    return Double.isNaN(quantile) && Double.isInfinite(clip);
  }

  /** Predicted data in range, at z = alpha x0 + sigma ε. */
  Tensor data(PredictionType prediction, double alpha, double sigma, Tensor z, Tensor output) {
    return apply(prediction.data(alpha, sigma).apply(z, output));
  }

  /** The noise that goes with data in range. */
  Tensor noise(PredictionType prediction, double alpha, double sigma, Tensor z, Tensor output) {
    if (isNone()) {
      return prediction.noise(alpha, sigma).apply(z, output);
    }
    Tensor data = data(prediction, alpha, sigma, z, output);
    return PredictionType.SAMPLE.noise(alpha, sigma).apply(z, data);
  }

  /** {@code data} in range, [B, ...], owned by the caller's scope. */
  Tensor apply(Tensor data) {
    if (isNone()) {
      return data;
    }
    if (Double.isNaN(quantile)) {
      return data.clamp(-clip, clip);
    }
    Tensor scale =
        quantiles(data).clamp(1, most).to(data.dtype()).asRows(data.dim()); // [B, 1, ...]
    return data.minimum(scale).maximum(scale.neg()).div(scale);
  }

  /** Of each row's magnitudes, [B], linear between the two values that it lies between. */
  private Tensor quantiles(Tensor data) {
    Tensor sorted = data.reshape(data.size(0), -1).abs().sort(1);
    long last = sorted.size(1) - 1;
    double at = quantile * last;
    long below = (long) at;
    // Metal has no float64
    DType exact = data.device().kind() == Device.Kind.MPS ? DType.F32 : DType.F64;
    Tensor lower = sorted.select(1, below).to(exact);
    Tensor upper = sorted.select(1, Math.min(below + 1, last)).to(exact);
    return lower.add(upper.sub(lower).mul(at - below));
  }
}
