package org.perflow.distill;

import java.nio.file.Path;
import java.util.Map;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;

/**
 * A network that predicts ε as σ z + α F(z, t). What follows about the data is α z − σ F; from a
 * network of ε itself it would be its error times 1/α, which is 157 at the ring's last level.
 */
record RingGenerator(RingNet inner) implements Net {
  static final Path WEIGHTS = Path.of("src/test/resources/ring/velocity.safetensors");

  /** The closed form, whose copies are networks of this kind. */
  static final Net TEACHER = new Exact();

  /** Near the ring's ε. */
  static RingGenerator pretrained() {
    return new RingGenerator(RingNet.read(WEIGHTS));
  }

  @Override
  public Denoiser given(Conditioning condition) {
    Denoiser network = inner.given(condition);
    return (z, t) -> scaled(z, t, false).add(scaled(network.predict(z, t), t, true));
  }

  /** x [B, 2, 1, 1] times each row's α or σ. */
  static Tensor scaled(Tensor x, Tensor timesteps, boolean byAlpha) {
    double[] index = timesteps.toDoubleArray();
    float[] factors = new float[index.length];
    for (int i = 0; i < factors.length; i++) {
      int level = (int) index[i];
      factors[i] = (float) (byAlpha ? Ring.SCHEDULE.alpha(level) : Ring.SCHEDULE.sigma(level));
    }
    return x.mul(Tensor.of(factors, factors.length, 1, 1, 1));
  }

  @Override
  public Denoiser features(Conditioning condition) {
    return inner.features(condition);
  }

  @Override
  public int featureChannels() {
    return inner.featureChannels();
  }

  @Override
  public Map<String, Parameter> parameters() {
    return inner.parameters();
  }

  @Override
  public RingGenerator copy() {
    return new RingGenerator((RingNet) inner.copy());
  }

  @Override
  public RingGenerator lora(int rank, Rng rng) {
    return new RingGenerator((RingNet) inner.lora(rank, rng));
  }

  @Override
  public void close() {
    inner.close();
  }

  private static final class Exact implements Net {
    @Override
    public Denoiser given(Conditioning condition) {
      return Ring.TEACHER.given(condition);
    }

    @Override
    public Denoiser features(Conditioning condition) {
      return Ring.TEACHER.features(condition);
    }

    @Override
    public int featureChannels() {
      return Ring.TEACHER.featureChannels();
    }

    @Override
    public Map<String, Parameter> parameters() {
      return Map.of();
    }

    @Override
    public Net copy() {
      return pretrained();
    }

    @Override
    public Net lora(int rank, Rng rng) {
      try (RingGenerator near = pretrained()) {
        return near.lora(rank, rng);
      }
    }

    @Override
    public void close() {}
  }
}
