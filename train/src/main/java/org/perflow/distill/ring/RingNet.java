package org.perflow.distill.ring;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Net;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.io.Weights;
import org.perflow.models.lora.LoraAdapters;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;

/**
 * SiLU layers over z, Fourier features of t fine enough to tell a time grid's points apart, and of
 * the number that a network may embed beside it (whose weights start at zero).
 */
public final class RingNet implements Net {
  private static final int WIDTH = 96;
  private static final int OCTAVES = 6;

  private final Layers layers;
  private final @Nullable LoraAdapters adapters;

  private RingNet(Layers layers, @Nullable LoraAdapters adapters) {
    this.layers = layers;
    this.adapters = adapters;
  }

  /** With weights that predict the ring's ε (rmse 0.05): where students start. */
  public static RingNet pretrained() {
    return read("epsilon.safetensors");
  }

  /** Weights that come with this package. */
  static RingNet read(String resource) {
    try (InputStream weights =
        Objects.requireNonNull(RingNet.class.getResourceAsStream(resource))) {
      Path file = Files.createTempFile("ring", ".safetensors"); // read by position, so no stream
      try {
        Files.copy(weights, file, StandardCopyOption.REPLACE_EXISTING);
        Layers layers = new Layers();
        Weights.load(layers, file, DType.F32);
        return new RingNet(layers, null);
      } finally {
        Files.delete(file);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Freshly initialised. */
  public static RingNet random(Rng rng) {
    Layers layers = new Layers();
    layers.initialise(rng, DType.F32);
    return new RingNet(layers, null);
  }

  /** Writes all weights, as {@link #pretrained} reads them. */
  public void save(Path file) throws IOException {
    Weights.save(layers, file, DType.F32, Map.of());
  }

  @Override
  public Denoiser given(Conditioning condition) {
    return (z, t) ->
        layers.output(layers.hidden(z, t, condition.timestepCond())).reshape(z.shape());
  }

  @Override
  public boolean takesNumber() {
    return true;
  }

  @Override
  public Denoiser features(Conditioning condition) {
    return (z, t) -> layers.hidden(z, t, condition.timestepCond()).reshape(z.size(0), WIDTH, 1, 1);
  }

  @Override
  public int featureChannels() {
    return WIDTH;
  }

  @Override
  public Map<String, Parameter> parameters() {
    return adapters == null ? layers.namedParameters() : adapters.parameters();
  }

  @Override
  public Net copy() {
    return new RingNet(layers.copy(), null);
  }

  @Override
  public Net lora(int rank, Rng rng) {
    Layers copy = layers.copy();
    return new RingNet(copy, LoraAdapters.attach(copy, rank, rank, rng));
  }

  @Override
  public void close() {
    if (adapters != null) {
      adapters.close();
    }
    layers.close();
  }

  private static final class Layers extends Module {
    private final Linear first = child("mid_block.first", new Linear(2 + 2 * OCTAVES, WIDTH));
    private final Beside beside = child("beside", new Beside());
    private final Linear second = child("mid_block.second", new Linear(WIDTH, WIDTH));
    private final Linear third = child("mid_block.third", new Linear(WIDTH, WIDTH));
    private final Linear last = child("mid_block.last", new Linear(WIDTH, 2));

    private static final class Beside extends Module {
      final Parameter weight = parameter("weight", Parameter.Init.constant(0), 4, WIDTH);
    }

    Layers copy() {
      Layers copy = new Layers();
      copy.copyFrom(this, DType.F32);
      return copy;
    }

    Tensor hidden(Tensor z, Tensor timesteps, @Nullable Tensor number) {
      Tensor angle = angles(timesteps.div(1000), OCTAVES);
      Tensor x =
          first.forward(Tensor.cat(1, z.reshape(z.size(0), 2), angle.sin(), angle.cos())); // [B, W]
      if (number != null) {
        Tensor more = angles(number, 2);
        x = x.add(Tensor.cat(1, more.sin(), more.cos()).matmul(beside.weight.value()));
      }
      return Functional.silu(third.forward(Functional.silu(second.forward(Functional.silu(x)))));
    }

    Tensor output(Tensor hidden) {
      return last.forward(hidden);
    }

    private static Tensor angles(Tensor values, int octaves) {
      Tensor frequencies = Tensor.generate(octaves, i -> Math.PI * (1 << i));
      return values.unsqueeze(1).mul(frequencies.unsqueeze(0));
    }
  }
}
