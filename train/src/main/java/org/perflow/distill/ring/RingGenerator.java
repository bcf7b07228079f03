package org.perflow.distill.ring;

import java.util.Map;
import org.perflow.distill.Net;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;

/**
 * A network that predicts ε as σ z + α F(z, t). What follows about the data is α z − σ F; from a
 * network of ε itself it would be its error times 1/α, which is 157 at the ring's last level.
 */
public record RingGenerator(RingNet inner) implements Net {
  /** The closed form, whose copies are networks of this kind. */
  public static final Net TEACHER = new ClosedForm(Ring::epsilon, RingGenerator::pretrained);

  /** Near the ring's ε. */
  public static RingGenerator pretrained() {
    return new RingGenerator(RingNet.read("velocity.safetensors"));
  }

  @Override
  public Denoiser given(Conditioning condition) {
    Denoiser network = inner.given(condition);
    return (z, t) -> scaled(z, t, false).add(scaled(network.predict(z, t), t, true));
  }

  /** x [B, 2, 1, 1] times each row's α or σ. */
  private static Tensor scaled(Tensor x, Tensor timesteps, boolean byAlpha) {
    double[] index = timesteps.toDoubleArray();
    return x.mul(Tensor.generate(index.length, i -> factor(index[i], byAlpha)).asRows(4));
  }

  private static double factor(double index, boolean byAlpha) {
    int level = (int) Math.min(index, Ring.SCHEDULE.size() - 1);
    return byAlpha ? Ring.SCHEDULE.alpha(level) : Ring.SCHEDULE.sigma(level);
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
}
