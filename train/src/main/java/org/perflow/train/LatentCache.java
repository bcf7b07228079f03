package org.perflow.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Fingerprint;
import org.perflow.io.Images;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.io.Sample;
import org.perflow.models.AutoencoderKL;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * The VAE's posteriors of all pictures, encoded once and kept in memory: latents are sampled from
 * them at every use. Owns its native memory.
 */
public final class LatentCache implements AutoCloseable {
  private static final int BATCH = 32;

  private final Tensor mean; // [N, C, h, w]
  private final Tensor deviation; // [N, C, h, w]

  private LatentCache(Tensor moments, double shift, double scale) {
    long channels = moments.size(1) / 2;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor logVariance = moments.narrow(1, channels, channels).clamp(-30, 20);
      mean = scope.release(moments.narrow(1, 0, channels).sub(shift).mul(scale));
      deviation = scope.release(logVariance.mul(0.5).exp().mul(scale));
    }
  }

  /**
   * Encodes all pictures, or reads what an earlier call with the same {@code vae} and {@code
   * shards} left in {@code file}.
   *
   * @param samples of {@code shards}, in their order; all pictures of one size
   */
  public static LatentCache of(
      AutoencoderKL vae, List<Sample> samples, List<Path> shards, Path file) throws IOException {
    List<String> sources = new ArrayList<>(List.of(Fingerprint.of(vae)));
    for (Path shard : shards) {
      sources.add(Fingerprint.of(shard));
    }
    String key = Fingerprint.of(sources);
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor moments = stored(file, key);
      if (moments == null) {
        moments = encode(vae, samples);
        SafetensorsWriter.write(file, Map.of("moments", moments), Map.of("key", key));
      }
      Double shift = vae.config().shiftFactor();
      return new LatentCache(moments, shift == null ? 0 : shift, vae.config().scalingFactor());
    }
  }

  private static @Nullable Tensor stored(Path file, String key) throws IOException {
    if (!Files.exists(file)) {
      return null;
    }
    try (SafetensorsFile source = SafetensorsFile.open(file)) {
      return key.equals(source.metadata().get("key")) ? source.read("moments") : null;
    }
  }

  private static Tensor encode(AutoencoderKL vae, List<Sample> samples) throws IOException {
    List<Tensor> parts = new ArrayList<>();
    for (int from = 0; from < samples.size(); from += BATCH) {
      try (Scope scope = Scope.open()) {
        List<Sample> batch = samples.subList(from, Math.min(samples.size(), from + BATCH));
        parts.add(scope.keep(vae.encodeMoments(pictures(batch)).to(DType.F32)));
      }
    }
    return Tensor.cat(0, parts);
  }

  /** Pictures decoded to float32 [B, 3, H, W] in -1..1. */
  static Tensor pictures(List<Sample> samples) throws IOException {
    List<Tensor> decoded = new ArrayList<>();
    for (Sample sample : samples) {
      String name = sample.shard() + ": " + sample.key();
      Tensor picture = Images.toTensor(Images.decode(sample.picture(), name));
      if (!decoded.isEmpty() && !Arrays.equals(decoded.get(0).shape(), picture.shape())) {
        throw new IOException(
            "%s is a picture of %s, the ones before are %s: all must have one size"
                .formatted(name, picture, decoded.get(0)));
      }
      decoded.add(picture);
    }
    return Tensor.stack(0, decoded);
  }

  /** How many. */
  public int size() {
    return (int) mean.size(0);
  }

  /** Rows of a latent; {@link #width} are its columns. */
  int height() {
    return (int) mean.size(2);
  }

  /** Columns of a latent. */
  int width() {
    return (int) mean.size(3);
  }

  /** Standard deviation of the scaled latents: 1 is what a diffusion model wants. */
  public double deviation() {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      double square = mean.square().mean().item() + deviation.square().mean().item();
      return Math.sqrt(square - Math.pow(mean.mean().item(), 2));
    }
  }

  /** Scaled latents of those pictures, float32 [B, C, h, w], in the caller's scope. */
  public Tensor sample(long[] examples, Rng rng) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor index = Tensor.of(examples);
      Tensor center = mean.indexSelect(0, index);
      Tensor noise = Tensor.randn(rng, center.shape());
      return scope.keep(center.add(deviation.indexSelect(0, index).mul(noise)));
    }
  }

  @Override
  public void close() {
    mean.close();
    deviation.close();
  }
}
