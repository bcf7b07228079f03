package org.perflow.flow;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.tensor.Tensor;

/** Where reference tensors lie, and how close is close. */
public final class Golden {
  public static final Path FOLDER = Path.of("src/test/resources/golden");
  public static final Path MODELS = Path.of("../models/src/test/resources/golden/models");

  /** For samplers that draw none. */
  public static final Scheduler.NoiseSource NO_NOISE =
      z -> {
        throw new AssertionError("a deterministic sampler asked for noise");
      };

  private Golden() {}

  /** Largest difference over largest magnitude; printed, so that reports can quote it. */
  public static double error(String name, Tensor actual, Tensor expected) {
    assertThat(actual.shape()).as(name).isEqualTo(expected.shape());
    assertThat(actual.isFinite()).as(name).isTrue();
    double error = actual.sub(expected).abs().max().item() / expected.abs().max().item();
    System.out.printf("golden %s: %.2e%n", name, error);
    return error;
  }

  /** The network that the sampler references were made with. */
  public static Tensor network(Tensor z, double timestep) {
    return z.mul(0.6).add(z.mul(3).sin().mul(0.25)).add(0.05 * Math.cos(timestep / 150));
  }
}
