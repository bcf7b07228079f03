package org.perflow.pretrain;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.perflow.io.Sample;
import org.perflow.models.AutoencoderKL;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.LatentCache;
import org.perflow.train.Objective;

/**
 * Trains an autoencoder on small pictures: L1 + L2 + half the L1 of picture gradients, which keeps
 * edges, and a weak KL term; pictures are flipped and shifted by up to 3 pixels. Owns its copy of
 * the pictures. One thread.
 */
public final class VaeObjective implements Objective, AutoCloseable {
  private static final double KL_WEIGHT = 1e-3;
  private static final int MAX_SHIFT = 3;
  private static final int PART = 1024; // pictures decoded at a time

  private final AutoencoderKL vae;
  private final Tensor pictures; // [N, 3, H, W] uint8
  private final DType compute;

  /** The model must have float32 weights. */
  public VaeObjective(AutoencoderKL vae, List<Sample> samples, DType compute) throws IOException {
    this.vae = vae;
    this.compute = compute;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      List<Tensor> parts = new ArrayList<>(); // bytes from the start: floats are four times as many
      for (int from = 0; from < samples.size(); from += PART) {
        try (Scope part = Scope.open()) {
          Tensor some =
              LatentCache.pictures(samples.subList(from, Math.min(samples.size(), from + PART)));
          parts.add(part.keep(some.add(1).mul(127.5).round().to(DType.U8)));
        }
      }
      pictures = scope.release(Tensor.cat(0, parts));
    }
  }

  @Override
  public Map<String, Parameter> parameters() {
    return vae.namedParameters();
  }

  @Override
  public int examples() {
    return (int) pictures.size(0);
  }

  @Override
  public Tensor loss(Step step) {
    Tensor x = augmented(step.examples(), step.rng()); // [B, 3, H, W]
    Tensor moments = vae.encodeMoments(x.to(compute));
    long channels = moments.size(1) / 2;
    Tensor mean = moments.narrow(1, 0, channels).to(DType.F32);
    Tensor logVariance = moments.narrow(1, channels, channels).to(DType.F32).clamp(-30, 20);
    Tensor noise = Tensor.randnLike(step.rng(), mean);
    Tensor z = mean.add(logVariance.mul(0.5).exp().mul(noise));
    Tensor error = vae.decode(z.to(compute)).to(DType.F32).sub(x);
    Tensor reconstruction =
        error
            .abs()
            .mean()
            .add(error.square().mean())
            .add(difference(error, 2).abs().mean().mul(0.5))
            .add(difference(error, 3).abs().mean().mul(0.5));
    Tensor kl = mean.square().add(logVariance.exp()).sub(1).sub(logVariance).mean().mul(0.5);
    return reconstruction.add(kl.mul(KL_WEIGHT));
  }

  private static Tensor difference(Tensor x, int dim) {
    long size = x.size(dim) - 1;
    return x.narrow(dim, 1, size).sub(x.narrow(dim, 0, size));
  }

  private Tensor augmented(long[] examples, Rng rng) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor some = pictures.indexSelect(0, Tensor.of(examples)).to(vae.device());
      Tensor x = some.to(DType.F32).div(127.5).sub(1);
      long[] draws = Tensor.randint(rng, 2 * MAX_SHIFT + 1, 3).toLongArray();
      x = draws[2] % 2 == 0 ? x : x.flip(3);
      Tensor shifted = roll(roll(x, 2, draws[0] - MAX_SHIFT), 3, draws[1] - MAX_SHIFT);
      return scope.keep(shifted.contiguous().copy());
    }
  }

  /** Shifts along one dimension, what falls out comes in again on the other side. */
  private static Tensor roll(Tensor x, int dim, long shift) {
    long size = x.size(dim);
    long first = Math.floorMod(-shift, size);
    return first == 0
        ? x
        : Tensor.cat(dim, x.narrow(dim, first, size - first), x.narrow(dim, 0, first));
  }

  @Override
  public void close() {
    pictures.close();
  }
}
