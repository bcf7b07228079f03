package org.perflow.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.models.CLIPTextModel;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Captioned pictures ready for PeRFlow: latent posteriors ({@link LatentCache}) and the text
 * encoder's states of every wording of every caption, all in memory. Owns its native memory.
 */
public final class CachedExamples implements Examples, AutoCloseable {
  private static final int BATCH = 64;

  private final LatentCache latents;
  private final Tensor states; // [N * VARIANTS, L, D]
  private final Tensor empty; // [1, L, D]

  private CachedExamples(LatentCache latents, Tensor states, Tensor empty) {
    this.latents = latents;
    this.states = states;
    this.empty = empty;
  }

  /**
   * Reads all of {@code shards}, encodes pictures and captions with {@code model}.
   *
   * @param cache folder for {@code latents.safetensors}, which a second run reuses
   * @param type element type that the text states are kept in
   */
  public static CachedExamples of(DiffusionModel model, List<Path> shards, Path cache, DType type)
      throws IOException {
    List<Sample> samples = ShardReader.readAll(shards);
    if (samples.isEmpty()) {
      throw new IOException("no pictures in " + shards);
    }
    LatentCache latents =
        LatentCache.of(model.vae(), samples, shards, cache.resolve("latents.safetensors"));
    try (Captions captions = Captions.of(model.tokenizer(), samples);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return new CachedExamples(
          latents,
          scope.release(encode(model.textEncoder(), captions.ids(), type)),
          scope.release(encode(model.textEncoder(), captions.empty(), type)));
    }
  }

  private static Tensor encode(CLIPTextModel text, Tensor ids, DType type) {
    long rows = ids.size(0);
    Tensor all = Tensor.empty(type, rows, ids.size(1), text.config().hiddenSize());
    for (long from = 0; from < rows; from += BATCH) {
      try (Scope scope = Scope.open()) {
        long count = Math.min(BATCH, rows - from);
        Tensor states = text.forward(ids.narrow(0, from, count)).lastHiddenState();
        all.narrow(0, from, count).copyInPlace(states);
      }
    }
    return all;
  }

  @Override
  public int size() {
    return latents.size();
  }

  @Override
  public Tensor latents(long[] examples, Rng rng) {
    return latents.sample(examples, rng);
  }

  @Override
  public Tensor conditions(long[] examples, Rng rng) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return scope.keep(states.indexSelect(0, Captions.rows(examples, rng)));
    }
  }

  @Override
  public Tensor nullCondition() {
    return empty;
  }

  @Override
  public void close() {
    latents.close();
    states.close();
    empty.close();
  }
}
