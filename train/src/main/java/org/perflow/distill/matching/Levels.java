package org.perflow.distill.matching;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.function.IntToDoubleFunction;
import org.perflow.flow.Affine;
import org.perflow.flow.Denoiser;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;

/**
 * Noise levels of a batch, one a row, and what a network says at them. Gradients flow through.
 *
 * @param prediction of the networks that are asked
 * @param indices 0 (cleanest) ... T − 1
 */
record Levels(NoiseSchedule schedule, PredictionType prediction, List<Integer> indices) {

  /** The same level in {@code rows} rows. */
  static Levels all(NoiseSchedule schedule, PredictionType prediction, int index, int rows) {
    return new Levels(schedule, prediction, Collections.nCopies(rows, index));
  }

  /** Each row's evenly from {@code from} (part of T) up to and without {@code to}. */
  static Levels drawn(
      NoiseSchedule schedule,
      PredictionType prediction,
      double from,
      double to,
      int rows,
      Rng rng) {
    int low = (int) Math.round(from * schedule.size());
    int high = (int) Math.round(to * schedule.size());
    long[] offsets = Tensor.randint(rng, high - low, rows).toLongArray();
    List<Integer> indices = Arrays.stream(offsets).mapToObj(i -> low + (int) i).toList();
    return new Levels(schedule, prediction, indices);
  }

  /** As networks take them, float32 [B]. */
  Tensor timesteps() {
    return Tensor.generate(indices.size(), indices::get);
  }

  /** α x + σ ε, [B, ...]. */
  Tensor noised(Tensor x, Tensor noise) {
    return schedule.addNoise(x, noise, indices.stream().mapToInt(i -> i).toArray());
  }

  /** The data that {@code network} sees in {@code z} [B, ...]. */
  Tensor data(Denoiser network, Tensor z) {
    Affine[] each = new Affine[indices.size()];
    Arrays.setAll(each, i -> prediction.data(alpha(i), sigma(i)));
    return Affine.apply(each, z, network.predict(z, timesteps()));
  }

  /** The noise that {@code network} sees in {@code z} [B, ...]. */
  Tensor noise(Denoiser network, Tensor z) {
    Affine[] each = new Affine[indices.size()];
    Arrays.setAll(each, i -> prediction.noise(alpha(i), sigma(i)));
    return Affine.apply(each, z, network.predict(z, timesteps()));
  }

  /** α of row i. */
  double alpha(int row) {
    return schedule.alpha(indices.get(row));
  }

  /** σ of row i. */
  double sigma(int row) {
    return schedule.sigma(indices.get(row));
  }

  /** Every row of {@code x} [B, ...] times its weight. */
  Tensor weighted(Tensor x, IntToDoubleFunction weightOfRow) {
    Tensor weights = Tensor.generate(indices.size(), weightOfRow);
    return x.mul(weights.to(x.dtype()).to(x.device()).asRows(x.dim()));
  }
}
