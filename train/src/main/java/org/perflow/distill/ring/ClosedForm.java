package org.perflow.distill.ring;

import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Net;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.tensor.Rng;
import org.perflow.tensor.nn.Parameter;

/** A formula as a teacher: what methods copy, or read features of, is a network near it. */
final class ClosedForm implements Net {
  private final Denoiser formula;
  private final Supplier<Net> near;
  private @Nullable Net features;

  /** A teacher that says {@code formula} and whose copies are what {@code near} makes. */
  ClosedForm(Denoiser formula, Supplier<Net> near) {
    this.formula = formula;
    this.near = near;
  }

  @Override
  public Denoiser given(Conditioning condition) {
    return formula;
  }

  @Override
  public Denoiser features(Conditioning condition) {
    return featured().features(condition);
  }

  @Override
  public int featureChannels() {
    return featured().featureChannels();
  }

  private Net featured() {
    features = features == null ? near.get() : features;
    return features;
  }

  @Override
  public Map<String, Parameter> parameters() {
    return Map.of();
  }

  @Override
  public Net copy() {
    return near.get();
  }

  @Override
  public Net lora(int rank, Rng rng) {
    try (Net net = near.get()) {
      return net.lora(rank, rng);
    }
  }

  @Override
  public void close() {
    if (features != null) {
      features.close();
      features = null;
    }
  }
}
