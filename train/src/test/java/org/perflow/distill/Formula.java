package org.perflow.distill;

import java.util.Map;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;

/** A network that is a formula, with weights or without; its features are its input. */
public record Formula(Say say, Map<String, Parameter> parameters) implements Net {
  public interface Say {
    Tensor output(Tensor z, Tensor timesteps, Conditioning told);
  }

  /** Without weights. */
  public Formula(Say say) {
    this(say, Map.of());
  }

  /** One that is told nothing. */
  public static Formula of(Denoiser output) {
    return new Formula((z, timesteps, told) -> output.predict(z, timesteps));
  }

  @Override
  public Denoiser given(Conditioning condition) {
    return (z, timesteps) -> say.output(z, timesteps, condition);
  }

  @Override
  public Denoiser features(Conditioning condition) {
    return (z, timesteps) -> z;
  }

  @Override
  public int featureChannels() {
    return 2;
  }

  @Override
  public Net copy() {
    return this;
  }

  @Override
  public Net lora(int rank, Rng rng) {
    return this;
  }

  @Override
  public void close() {}
}
