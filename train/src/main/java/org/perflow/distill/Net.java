package org.perflow.distill;

import java.util.Map;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.Network;
import org.perflow.tensor.Rng;
import org.perflow.tensor.nn.Parameter;

/**
 * A network that a method reads, trains or copies: a U-Net ({@link UnetNet}), or a small one of two
 * dimensions. Used by one thread.
 */
public interface Net extends Network, AutoCloseable {
  /** Its output, float32, with gradients as the calling thread says. */
  @Override
  Denoiser given(Conditioning condition);

  /** Features of its middle instead of its output, float32 [B, C, h, w]: for discriminators. */
  Denoiser features(Conditioning condition);

  /** Channels of {@link #features}. */
  int featureChannels();

  /** What training may change, by unique name, float32: all weights, or low-rank factors. */
  Map<String, Parameter> parameters();

  /** Another network that says the same, with float32 weights of its own, all of them trainable. */
  Net copy();

  /**
   * Another network that says the same and of which only low-rank factors are trainable.
   *
   * @param rank of the factors; their α is the rank
   */
  Net lora(int rank, Rng rng);

  /** Frees what it owns. */
  @Override
  void close();
}
