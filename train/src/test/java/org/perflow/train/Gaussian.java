package org.perflow.train;

import org.perflow.distill.perflow.PerflowObjective;
import org.perflow.flow.Conditioning;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;

/** Data N(0, 1), whose ideal teacher is ε = σ z; conditions mean nothing. */
public final class Gaussian implements Examples {
  public static final NoiseSchedule SCHEDULE = NoiseSchedule.stableDiffusion();

  public static final PerflowObjective.Teacher TEACHER =
      new PerflowObjective.Teacher(
          condition ->
              (z, timesteps) -> {
                double[] index = timesteps.toDoubleArray();
                float[] sigma = new float[index.length];
                for (int i = 0; i < sigma.length; i++) {
                  sigma[i] = (float) SCHEDULE.sigma(Math.min(999, (int) index[i]));
                }
                return z.mul(Tensor.of(sigma, sigma.length, 1));
              },
          SCHEDULE,
          PredictionType.EPSILON);

  @Override
  public int size() {
    return 100;
  }

  @Override
  public Tensor latents(long[] examples, Rng rng) {
    return Tensor.randn(rng, examples.length, 1);
  }

  @Override
  public Conditioning conditions(long[] examples, Rng rng) {
    return Conditioning.of(Tensor.full(0, examples.length, 1));
  }

  @Override
  public Conditioning nullCondition() {
    return Conditioning.of(Tensor.full(0, 1, 1));
  }
}
