package org.perflow.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Conditioning;
import org.perflow.io.Fingerprint;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.io.Sample;
import org.perflow.models.AddedConditions;
import org.perflow.models.CLIPTokenizer;
import org.perflow.models.DiffusionModel;
import org.perflow.pipeline.PromptEncoder;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Captioned pictures ready for PeRFlow: latent posteriors ({@link LatentCache}) and what the text
 * encoders make of every wording of every caption, all in the host's memory and cached on disk;
 * what is drawn of it goes to the device of the model. XL is told what was done to each picture
 * ({@link Origin}). Owns its native memory.
 */
public final class CachedExamples implements Examples, AutoCloseable {
  private static final int BATCH = 64;

  private final LatentCache latents;
  private final Conditioning captions; // a row for each distinct text
  private final long[] rows; // of captions, for each of the N * VARIANTS texts
  private Conditioning empty; // 1 row, on the device that all is handed out on
  private final @Nullable Tensor sizes; // [N, 6]; null for families that are not told
  private final List<String> texts; // one a picture, as the data has it
  private final @Nullable MixedCaptions mixed; // null where none are drawn
  private final double mixing;
  private final Function<List<String>, Conditioning> encoder;

  private CachedExamples(
      LatentCache latents,
      Conditioning captions,
      long[] rows,
      Conditioning empty,
      @Nullable Tensor sizes,
      List<String> texts,
      @Nullable MixedCaptions mixed,
      double mixing,
      Function<List<String>, Conditioning> encoder) {
    this.latents = latents;
    this.captions = captions;
    this.rows = rows;
    this.empty = empty;
    this.sizes = sizes;
    this.texts = texts;
    this.mixed = mixed;
    this.mixing = mixing;
    this.encoder = encoder;
  }

  /**
   * Encodes pictures and captions of {@code data} with {@code model}.
   *
   * @param cache folder for {@code latents.safetensors} and {@code captions.safetensors}, which a
   *     second run reuses where model and shards are the same
   * @param type element type that the text states are kept in
   * @param mixing part of the captions (0..1) that are put together from pieces of several; these
   *     are encoded when drawn, so the model must stay open
   */
  public static CachedExamples of(
      DiffusionModel model, Catalogue data, Path cache, DType type, double mixing)
      throws IOException {
    List<Sample> samples = data.samples();
    if (samples.isEmpty()) {
      throw new IOException("no pictures in " + data.shards());
    }
    LatentCache latents = LatentCache.of(model.vae(), data, cache.resolve("latents.safetensors"));
    List<String> all = Captions.texts(samples);
    List<String> texts = all.stream().distinct().toList(); // few where captions name classes
    int pixels = model.vae().config().downsampling();
    int height = pixels * latents.height(0);
    int width = pixels * latents.width(0);
    String key = key(model, texts, type, height, width);
    Path file = cache.resolve("captions.safetensors");
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Map<String, Tensor> states = stored(file, key);
      Device device = model.textEncoder().device();
      PromptEncoder encoder = PromptEncoder.of(model);
      if (states == null) {
        Conditioning none = encoder.encode(List.of(""), 1, height, width).to(type).to(Device.CPU);
        states = new LinkedHashMap<>();
        put(states, "empty.", none);
        put(states, "captions.", encode(encoder, texts, none, height, width));
        SafetensorsWriter.write(file, states, Map.of("key", key));
      }
      List<String> written = samples.stream().map(Sample::caption).toList();
      return new CachedExamples(
          latents,
          get(states, "captions.").each(scope::release),
          rows(all, texts),
          get(states, "empty.").to(device).each(scope::release),
          model.second() == null ? null : scope.release(sizes(samples, latents, pixels)),
          written,
          mixing > 0 ? new MixedCaptions(written, model.tokenizer().words()) : null,
          mixing,
          drawn -> encoder.encode(drawn, 1, height, width).to(type));
    }
  }

  /** What XL is told of each picture, in the order of {@link AddedConditions#timeIds}. */
  private static Tensor sizes(List<Sample> samples, LatentCache latents, int pixels) {
    float[] all = new float[6 * samples.size()];
    for (int i = 0; i < samples.size(); i++) {
      int height = pixels * latents.height(i);
      int width = pixels * latents.width(i);
      Origin origin = Origin.of(samples.get(i), height, width);
      int[] told = {origin.height(), origin.width(), origin.top(), origin.left(), height, width};
      for (int k = 0; k < told.length; k++) {
        all[6 * i + k] = told[k];
      }
    }
    return Tensor.of(all, samples.size(), 6);
  }

  /** Hands latents and conditions out on that device from now on. */
  public void to(Device device) {
    Conditioning before = empty;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      empty = before.each(x -> scope.release(x.detach().to(device.settled()).copy()));
    }
    before.tensors().forEach(Tensor::close);
    latents.to(device);
  }

  /** The caption of every picture, as the data has it. */
  public List<String> captions() {
    return texts;
  }

  /** Where in {@code distinct} each of {@code all} stands. */
  private static long[] rows(List<String> all, List<String> distinct) {
    Map<String, Integer> places = new HashMap<>();
    distinct.forEach(text -> places.put(text, places.size()));
    return all.stream().mapToLong(places::get).toArray();
  }

  /** Of all that the states depend on. */
  private static String key(
      DiffusionModel model, List<String> texts, DType type, int height, int width) {
    List<String> sources = new ArrayList<>();
    sources.add(type.torchName() + " " + height + " " + width);
    sources.add(Fingerprint.of(model.textEncoder()));
    addIds(sources, model.tokenizer(), texts);
    DiffusionModel.Second second = model.second();
    if (second != null) {
      sources.add(Fingerprint.of(second.textEncoder()));
      addIds(sources, second.tokenizer(), texts);
    }
    return Fingerprint.of(sources);
  }

  private static void addIds(List<String> sources, CLIPTokenizer tokenizer, List<String> texts) {
    sources.add(Arrays.toString(tokenizer.encode("")));
    texts.forEach(text -> sources.add(Arrays.toString(tokenizer.encode(text))));
  }

  private static @Nullable Map<String, Tensor> stored(Path file, String key) throws IOException {
    if (!Files.exists(file)) {
      return null;
    }
    try (SafetensorsFile stored = SafetensorsFile.open(file)) {
      if (!key.equals(stored.metadata().get("key"))) {
        return null;
      }
      Map<String, Tensor> states = new LinkedHashMap<>();
      for (String name : stored.entries().keySet()) {
        states.put(name, stored.read(name));
      }
      return states;
    }
  }

  private static void put(Map<String, Tensor> states, String prefix, Conditioning told) {
    told.named().forEach((name, tensor) -> states.put(prefix + name, tensor));
  }

  private static Conditioning get(Map<String, Tensor> states, String prefix) {
    Map<String, Tensor> named = new HashMap<>();
    states.forEach(
        (name, tensor) -> {
          if (name.startsWith(prefix)) {
            named.put(name.substring(prefix.length()), tensor);
          }
        });
    return Conditioning.of(named);
  }

  /** One row a text, each as {@code like}'s. */
  private static Conditioning encode(
      PromptEncoder encoder, List<String> texts, Conditioning like, int height, int width) {
    Conditioning all =
        like.each(
            x -> {
              long[] shape = x.shape();
              shape[0] = texts.size();
              return Tensor.empty(x.dtype(), shape);
            });
    for (int from = 0; from < texts.size(); from += BATCH) {
      try (Scope scope = Scope.open()) {
        List<String> batch = texts.subList(from, Math.min(texts.size(), from + BATCH));
        all.narrow(from, batch.size())
            .with(encoder.encode(batch, 1, height, width), Tensor::copyInPlace);
      }
    }
    return all;
  }

  @Override
  public int size() {
    return latents.size();
  }

  @Override
  public List<long[]> groups() {
    return latents.groups();
  }

  @Override
  public Tensor latents(long[] examples, Rng rng) {
    return latents.sample(examples, rng);
  }

  @Override
  public Conditioning conditions(long[] examples, Rng rng) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      long[] wordings = Captions.rows(examples, rng).toLongArray();
      Tensor drawn = Tensor.of(Arrays.stream(wordings).map(at -> rows[(int) at]).toArray());
      Tensor told =
          sizes == null
              ? null
              : sizes.indexSelect(0, Tensor.of(examples)).to(empty.text().device());
      Device device = empty.text().device();
      Conditioning written = captions.each(x -> x.indexSelect(0, drawn)).to(device);
      int count = (int) Math.round(mixing * examples.length);
      if (mixed == null || count == 0) {
        return written.withSizes(told).each(scope::keep);
      }
      // Which ones does not matter: the order of the examples is random.
      Conditioning composed = encoder.apply(mixed.draw(count, rng));
      return composed
          .cat(written.narrow(count, examples.length - count))
          .withSizes(told)
          .each(scope::keep);
    }
  }

  @Override
  public Conditioning nullCondition() {
    return empty;
  }

  @Override
  public void close() {
    latents.close();
    captions.tensors().forEach(Tensor::close);
    empty.tensors().forEach(Tensor::close);
    if (sizes != null) {
      sizes.close();
    }
  }
}
