package org.perflow.tensor;

import org.bytedeco.pytorch.Generator;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.global.torch;

/**
 * PyTorch's CPU generator: the same seed draws the same numbers as {@code
 * torch.Generator().manual_seed(seed)}. Not thread-safe; one per thread or per picture.
 */
public final class Rng implements AutoCloseable {
  static {
    Natives.prepare();
  }

  private final Generator generator;
  final GeneratorOptional option;

  private Rng(long seed) {
    generator = torch.make_generator_cpu(seed);
    generator.retainReference(); // outlives the scope it was made in
    option = new GeneratorOptional(generator);
    option.retainReference();
  }

  /** A generator with that seed. */
  public static Rng seeded(long seed) {
    return new Rng(seed);
  }

  /** Goes on as {@link #seeded} begins. */
  public void seed(long seed) {
    generator.set_current_seed(seed);
  }

  /** Its whole state as bytes (PyTorch's {@code get_state}), for an exact resume. */
  public byte[] state() {
    try (Scope scope = Scope.open()) {
      return new Tensor(generator.get_state()).toByteArray();
    }
  }

  /** Goes on from a {@link #state}. */
  public void restore(byte[] state) {
    try (Scope scope = Scope.open()) {
      generator.set_state(Tensor.of(state).raw);
    }
  }

  @Override
  public void close() {
    option.releaseReference();
    generator.releaseReference();
  }
}
