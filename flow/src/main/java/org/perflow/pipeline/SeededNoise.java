package org.perflow.pipeline;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;

/**
 * The noise of a batch, every picture's from a generator of its own, seeded as {@code
 * torch.Generator().manual_seed(seed)}: so that a picture does not depend on what else is in the
 * batch. A run draws its initial noise first and hands the rest to its {@link Scheduler}, as a
 * diffusers pipeline does with the generators it is given. Not thread-safe; closing frees the
 * generators.
 */
public final class SeededNoise implements Scheduler.NoiseSource, AutoCloseable {
  private final List<Rng> generators;

  /** One generator a seed. */
  public SeededNoise(long... seeds) {
    generators = Arrays.stream(seeds).mapToObj(Rng::seeded).toList();
  }

  /** Standard normal float32 [seeds, shape...], on the CPU, owned by the caller's scope. */
  public Tensor draw(long... shape) {
    List<Tensor> rows = new ArrayList<>();
    for (Rng generator : generators) {
      rows.add(Tensor.randn(generator, shape));
    }
    return Tensor.stack(0, rows);
  }

  /**
   * {@inheritDoc}
   *
   * @throws IllegalArgumentException unless z has one row a seed
   */
  @Override
  public Tensor like(Tensor z) {
    if (z.size(0) != generators.size()) {
      throw new IllegalArgumentException(
          "noise of " + generators.size() + " pictures for a batch of shape " + z);
    }
    return draw(Arrays.copyOfRange(z.shape(), 1, z.dim())).to(z.device());
  }

  @Override
  public void close() {
    generators.forEach(Rng::close);
  }
}
