package org.perflow.flow.sampler;

import java.util.Arrays;
import org.perflow.flow.PredictionType;
import org.perflow.models.SchedulerConfig;
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
    double[] scales = new double[(int) data.size(0)];
    for (int i = 0; i < scales.length; i++) {
      double[] magnitudes = data.select(0, i).abs().contiguous().toDoubleArray();
      scales[i] = Math.min(Math.max(quantile(magnitudes), 1), most);
    }
    Tensor scale = Tensor.of(scales).to(data.dtype()).asRows(data.dim()); // [B, 1, ...]
    return data.minimum(scale).maximum(scale.neg()).div(scale);
  }

  /** Linear between the two values that it lies between. */
  private double quantile(double[] values) {
    Arrays.sort(values);
    double at = quantile * (values.length - 1);
    int below = (int) at;
    int above = Math.min(below + 1, values.length - 1);
    return values[below] + (at - below) * (values[above] - values[below]);
  }
}
