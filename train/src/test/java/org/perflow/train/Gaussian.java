package org.perflow.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import org.perflow.distill.Formula;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.io.Json;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;

/** Data N(0, 1), whose ideal teacher is ε = σ z; conditions mean nothing. */
public final class Gaussian implements Examples {
  /** Stable Diffusion's. */
  public static final NoiseSchedule SCHEDULE = NoiseSchedule.stableDiffusion();

  public static final Task.Teacher TEACHER =
      new Task.Teacher(
          Formula.of(
              (z, timesteps) -> {
                double[] index = timesteps.toDoubleArray();
                float[] sigma = new float[index.length];
                for (int i = 0; i < sigma.length; i++) {
                  sigma[i] = (float) SCHEDULE.sigma(Math.min(999, (int) index[i]));
                }
                return z.mul(Tensor.of(sigma, sigma.length, 1));
              }),
          scheduler(PredictionType.EPSILON));

  /** The scheduler config of {@link #SCHEDULE}. */
  public static ObjectNode scheduler(PredictionType prediction) {
    return Json.MAPPER
        .createObjectNode()
        .put("_class_name", "PNDMScheduler")
        .put("beta_schedule", "scaled_linear")
        .put("beta_start", 0.00085)
        .put("beta_end", 0.012)
        .put("set_alpha_to_one", false)
        .put("prediction_type", prediction.key());
  }

  /** To train {@code student} on such data by {@link #TEACHER}. */
  public static Task task(Net student) {
    return task(new Gaussian(), TEACHER, student);
  }

  /** The same on any data by any teacher. */
  public static Task task(Examples data, Task.Teacher teacher, Net student) {
    return new Task(data, teacher, student, false, TrainOptions.DEFAULTS, Path.of("unused"));
  }

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
