package org.perflow.distill;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import org.perflow.distill.ring.RingRecipe;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.train.Examples;

/** Data N(μ, c²) as latents [B, 2, 1, 1]: closed forms for everything. Captions say nothing. */
public record Normal(double mean, double deviation) implements Examples {
  @Override
  public int size() {
    return 1000;
  }

  @Override
  public Tensor latents(long[] examples, Rng rng) {
    return Tensor.randn(rng, examples.length, 2, 1, 1).mul(deviation).add(mean);
  }

  @Override
  public Conditioning conditions(long[] examples, Rng rng) {
    return Conditioning.of(Tensor.full(0, examples.length, 1));
  }

  @Override
  public Conditioning nullCondition() {
    return Conditioning.of(Tensor.full(0, 1, 1));
  }

  /** A task of the teacher {@code output}, with {@code student} as it is. */
  public Task task(Denoiser output, ObjectNode scheduler, Net student, Path folder) {
    return new Task(
        this,
        new Task.Teacher(Formula.of(output), scheduler),
        student,
        false,
        RingRecipe.TRAINING,
        folder);
  }
}
