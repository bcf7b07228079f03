package org.perflow.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
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
 * encoder's states of every wording of every caption, all in memory and cached on disk. Owns its
 * native memory.
 */
public final class CachedExamples implements Examples, AutoCloseable {
  private static final int BATCH = 64;

  private final LatentCache latents;
  private final Tensor states; // [N * VARIANTS, L, D]
  private final Tensor empty; // [1, L, D]
  private final MixedCaptions mixed;
  private final double mixing;

  private CachedExamples(
      LatentCache latents, Map<String, Tensor> states, MixedCaptions mixed, double mixing) {
    this.latents = latents;
    this.states = states.get("states");
    this.empty = states.get("empty");
    this.mixed = mixed;
    this.mixing = mixing;
  }

  /**
   * Reads all of {@code shards}, encodes pictures and captions with {@code model}.
   *
   * @param cache folder for {@code latents.safetensors} and {@code captions.safetensors}, which a
   *     second run reuses where model and shards are the same
   * @param type element type that the text states are kept in
   * @param mixing part of the captions (0..1) that are put together from pieces of several; these
   *     need the model's text encoder as long as this is used
   */
  public static CachedExamples of(
      DiffusionModel model, List<Path> shards, Path cache, DType type, double mixing)
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
      Map<String, Tensor> states =
          captionStates(model.textEncoder(), captions, type, cache.resolve("captions.safetensors"));
      states.values().forEach(scope::release);
      var mixed =
          new MixedCaptions(
              model.tokenizer(),
              model.textEncoder(),
              type,
              samples.stream().map(Sample::caption).toList());
      return new CachedExamples(latents, states, mixed, mixing);
    }
  }

  private static Map<String, Tensor> captionStates(
      CLIPTextModel text, Captions captions, DType type, Path file) throws IOException {
    String key =
        Fingerprint.of(
            List.of(
                Fingerprint.of(text),
                Fingerprint.of(captions.ids()),
                Fingerprint.of(captions.empty()),
                type.torchName()));
    if (Files.exists(file)) {
      try (SafetensorsFile stored = SafetensorsFile.open(file)) {
        if (key.equals(stored.metadata().get("key"))) {
          return Map.of("states", stored.read("states"), "empty", stored.read("empty"));
        }
      }
    }
    Map<String, Tensor> states =
        Map.of(
            "states",
            encode(text, captions.ids(), type),
            "empty",
            encode(text, captions.empty(), type));
    SafetensorsWriter.write(file, states, Map.of("key", key));
    return states;
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
      Tensor written = states.indexSelect(0, Captions.rows(examples, rng));
      int count = mixing == 0 ? 0 : (int) Math.round(mixing * examples.length);
      if (count == 0) {
        return scope.keep(written);
      }
      // Which ones does not matter: the order of the examples is random.
      Tensor kept = written.narrow(0, count, examples.length - count);
      return scope.keep(Tensor.cat(0, mixed.draw(count, rng), kept));
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
