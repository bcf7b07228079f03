package org.perflow.evaluate;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.perflow.io.Fingerprint;
import org.perflow.io.Images;
import org.perflow.io.Sample;
import org.perflow.models.DiffusionModel;
import org.perflow.pipeline.Pipeline;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Functional;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.LayerNorm;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.optim.AdamW;
import org.perflow.tensor.optim.FlatParameters;
import org.perflow.train.Captions;

/**
 * Whether a picture shows what its caption says: how often its own caption is the nearest among 32,
 * by a picture tower on {@link Features} and a text tower on the states of a model's text encoder,
 * trained with CLIP's loss (Radford et al. 2021, arXiv 2103.00020, figure 3) on captioned pictures:
 * those that hold out what the models never trained on, so that a drawing that repeats a training
 * picture finds no friend here. It is no CLIP score, and compares only with itself: 1/32 is chance,
 * and {@link #agreement} of the pictures that it learned from is the most to be had.
 *
 * <p>Features and model stay the caller's; {@link #close} frees the towers. Used by one thread.
 */
public final class TextAgreement implements AutoCloseable {
  /** Captions that a picture's own is to be found among. */
  public static final int AMONG = 32;

  private static final int BATCH = 64; // of pictures seen by the feature network

  /**
   * Training.
   *
   * @param views augmented views of each picture, whose features are computed once
   * @param scale of the cosines, the inverse of CLIP's temperature
   */
  public record Options(
      int steps,
      int batch,
      int views,
      int width,
      double scale,
      double learningRate,
      double weightDecay,
      long seed) {
    /** Half a minute on two cores for a thousand pictures. */
    public static final Options DEFAULTS = new Options(800, 256, 8, 96, 12, 2e-3, 0.1, 0);

    public Options {
      if (steps < 1 || batch < 2 || views < 1 || width < 1 || !(learningRate > 0)) {
        throw new IllegalArgumentException(
            "text agreement needs steps, views and width of 1 or more, a batch of 2 or more and a"
                + " learning rate above 0; got "
                + steps
                + ", "
                + views
                + ", "
                + width
                + ", "
                + batch
                + ", "
                + learningRate);
      }
    }
  }

  /** Both towers end in unit vectors of the same width. */
  private static final class Towers extends Module {
    private final LayerNorm pictureNorm;
    private final Linear pictureIn;
    private final Linear pictureOut;
    private final LayerNorm textNorm;
    private final Linear textOut;

    Towers(int features, int states, int width) {
      pictureNorm = child("picture.norm", new LayerNorm(features, 1e-5));
      pictureIn = child("picture.in", new Linear(features, 2 * width));
      pictureOut = child("picture.out", new Linear(2 * width, width));
      textNorm = child("text.norm", new LayerNorm(states, 1e-5));
      textOut = child("text.out", new Linear(states, width));
    }

    /** [B, D] to [B, width]. */
    Tensor pictures(Tensor features) {
      Tensor h = Functional.silu(pictureIn.forward(pictureNorm.forward(features)));
      return unit(pictureOut.forward(h));
    }

    /** [B, T] to [B, width]. */
    Tensor texts(Tensor states) {
      return unit(textOut.forward(textNorm.forward(states)));
    }

    private static Tensor unit(Tensor x) {
      return x.mul(x.square().sum(1).add(1e-12).rsqrt().unsqueeze(1));
    }
  }

  private final Features features;
  private final DiffusionModel reader;
  private final Towers towers;

  private TextAgreement(Features features, DiffusionModel reader, Options options) {
    this.features = features;
    this.reader = reader;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(options.seed())) {
      int side = features.side();
      int width = (int) features.features(Tensor.zeros(DType.F32, 1, 3, side, side)).size(1);
      int states = (int) states(List.of("")).size(1);
      towers = new Towers(width, states, options.width());
      towers.initialise(rng, DType.F32);
    }
  }

  /**
   * Trains on captioned pictures, or reads what was trained before on the same ones from {@code
   * cache}. The same towers each time: all randomness is of {@code options.seed()}.
   */
  public static TextAgreement train(
      Features features,
      DiffusionModel reader,
      List<Sample> samples,
      Options options,
      Optional<TensorCache> cache)
      throws IOException {
    TextAgreement agreement = new TextAgreement(features, reader, options);
    String key = agreement.key(samples, options);
    try (Scope scope = Scope.open()) {
      var kept = cache.flatMap(folder -> folder.read("text-agreement", key));
      var parameters = agreement.towers.namedParameters();
      if (kept.isPresent() && kept.get().tensors().keySet().equals(parameters.keySet())) {
        kept.get().tensors().forEach((name, v) -> parameters.get(name).value(scope.release(v)));
        return agreement;
      }
      agreement.fit(samples, options);
      Map<String, Tensor> weights = new TreeMap<>();
      parameters.forEach((name, parameter) -> weights.put(name, parameter.value().detach()));
      cache.ifPresent(
          folder ->
              folder.write(
                  "text-agreement",
                  key,
                  new TensorCache.Content(weights, Map.of("options", options.toString()))));
      return agreement;
    } catch (IOException | RuntimeException e) {
      agreement.close();
      throw e;
    }
  }

  private String key(List<Sample> samples, Options options) {
    StringBuilder text = new StringBuilder(options.toString());
    for (Sample sample : samples) {
      text.append(sample.key()).append(' ').append(sample.caption()).append('\n');
      text.append(Arrays.hashCode(sample.picture())).append('\n');
    }
    return Fingerprint.of(
        List.of(text.toString(), features.fingerprint(), Fingerprint.of(reader.textEncoder())));
  }

  private void fit(List<Sample> samples, Options options) throws IOException {
    int count = samples.size();
    int batch = Math.min(options.batch(), count);
    AdamW.Options adam = new AdamW.Options(0.9, 0.98, 1e-8, options.weightDecay());
    try (Scope run = Scope.open();
        Rng rng = Rng.seeded(options.seed() + 1);
        FlatParameters parameters = new FlatParameters(towers.namedParameters());
        AdamW optimiser = new AdamW(parameters, adam)) {
      Tensor seen = views(samples, options.views(), rng); // [views · N, D]
      Tensor read = states(Captions.texts(samples)); // [N · VARIANTS, T]
      Tensor diagonal = Tensor.arange(batch);
      for (int step = 0; step < options.steps(); step++) {
        try (Scope scope = Scope.open()) {
          long[] chosen = Tensor.randperm(rng, count).narrow(0, 0, batch).toLongArray();
          Tensor x = seen.indexSelect(0, rows(chosen, count, 1, options.views(), rng));
          Tensor y =
              read.indexSelect(0, rows(chosen, 1, Captions.VARIANTS, Captions.VARIANTS, rng));
          parameters.zeroGradients();
          Tensor scores = // [B, B]
              towers.pictures(x).matmul(towers.texts(y).transpose(0, 1)).mul(options.scale());
          Tensor loss =
              FeatureTraining.crossEntropy(scores, diagonal)
                  .add(FeatureTraining.crossEntropy(scores.transpose(0, 1), diagonal));
          loss.backward();
          parameters.clipGradients(1);
          double cosine = 0.5 * (1 + Math.cos(Math.PI * step / options.steps()));
          optimiser.step(options.learningRate() * Math.min(1, (step + 1) / 50.0) * cosine);
        }
      }
      moveOut(towers);
    }
  }

  /** Rows stride · variant + step · example, with a variant of so many drawn for each example. */
  private static Tensor rows(long[] examples, long stride, long step, int variants, Rng rng) {
    long[] rows = Tensor.randint(rng, variants, examples.length).toLongArray();
    for (int i = 0; i < rows.length; i++) {
      rows[i] = stride * rows[i] + step * examples[i];
    }
    return Tensor.of(rows);
  }

  /** Features of augmented views, view by view [views · N, D], in the caller's scope. */
  private Tensor views(List<Sample> samples, int views, Rng rng) throws IOException {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor[] parts = new Tensor[views];
      Tensor pictures = pictures(samples).add(1).mul(127.5).round().to(DType.U8);
      for (int view = 0; view < views; view++) {
        try (Scope each = Scope.open()) {
          parts[view] = each.keep(seen(FeatureTraining.augment(pictures, rng)));
        }
      }
      return scope.keep(Tensor.cat(0, parts));
    }
  }

  /** [N, 3, side, side]. */
  private Tensor pictures(List<Sample> samples) throws IOException {
    Tensor[] pictures = new Tensor[samples.size()];
    for (int i = 0; i < pictures.length; i++) {
      Sample sample = samples.get(i);
      Tensor picture = Images.toTensor(Images.decode(sample.picture(), sample.key()));
      pictures[i] = BicubicResize.resize(picture.unsqueeze(0), features.side(), features.side());
    }
    return Tensor.cat(0, pictures);
  }

  private Tensor seen(Tensor pictures) {
    List<Tensor> parts = new ArrayList<>();
    for (long from = 0; from < pictures.size(0); from += BATCH) {
      long count = Math.min(BATCH, pictures.size(0) - from);
      try (Scope batch = Scope.open()) {
        Tensor some = pictures.narrow(0, from, count);
        parts.add(batch.keep(features.ofAnySize(some).to(DType.F32).copy()));
      }
    }
    return Tensor.cat(0, parts);
  }

  /** Mean over tokens of what the model's U-Net is told: [N, T], in the caller's scope. */
  private Tensor states(List<String> captions) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      List<Tensor> parts = new ArrayList<>();
      for (int from = 0; from < captions.size(); from += BATCH) {
        List<String> some = captions.subList(from, Math.min(captions.size(), from + BATCH));
        try (Scope batch = Scope.open()) {
          Tensor text =
              new Pipeline(reader, DType.F32).encode(List.copyOf(some)).text().to(Device.CPU);
          parts.add(batch.keep(text.mean(1)));
        }
      }
      return scope.keep(Tensor.cat(0, parts));
    }
  }

  /** Whether {@link #hits} has captions enough to choose from. */
  public static boolean canChooseAmong(List<String> captions) {
    return new LinkedHashSet<>(captions).size() >= AMONG;
  }

  /**
   * For each picture the probability that its own caption beats 31 others chosen at random from the
   * distinct ones of {@code captions}. Features [N, D] of as many pictures as captions.
   *
   * @throws IllegalArgumentException for fewer than 32 distinct captions
   */
  public double[] hits(Tensor pictureFeatures, List<String> captions) {
    List<String> distinct = List.copyOf(new LinkedHashSet<>(captions));
    if (distinct.size() < AMONG) {
      throw new IllegalArgumentException(
          "text agreement chooses among "
              + AMONG
              + " captions; got "
              + distinct.size()
              + " different ones: draw more pictures");
    }
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor texts = towers.texts(states(distinct)); // [C, width]
      Tensor cosines = towers.pictures(pictureFeatures).matmul(texts.transpose(0, 1)); // [N, C]
      double[] all = cosines.toDoubleArray();
      Map<String, Integer> column = new HashMap<>();
      distinct.forEach(caption -> column.put(caption, column.size()));
      double[] hits = new double[captions.size()];
      for (int i = 0; i < hits.length; i++) {
        int row = i * distinct.size();
        double own = all[row + column.get(captions.get(i))];
        int nearer = -1; // itself
        for (int c = 0; c < distinct.size(); c++) {
          nearer += all[row + c] >= own ? 1 : 0;
        }
        hits[i] = winning(distinct.size() - 1, nearer);
      }
      return hits;
    }
  }

  /** Probability that none of {@code nearer} is among 31 of {@code others}: hypergeometric. */
  static double winning(int others, int nearer) {
    double probability = 1;
    for (int i = 0; i < AMONG - 1; i++) {
      probability *= Math.max(0, (double) (others - nearer - i) / (others - i));
    }
    return probability;
  }

  /** Agreement of captioned pictures, such as those that it learned from. */
  public Estimate agreement(List<Sample> samples) throws IOException {
    List<String> captions = samples.stream().map(Sample::caption).toList();
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return Bootstrap.byGroup(captions, 0).mean(hits(seen(pictures(samples)), captions));
    }
  }

  private static void moveOut(Module module) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      module
          .namedParameters()
          .values()
          .forEach(p -> p.value(scope.release(p.value().detach().copy())));
    }
  }

  @Override
  public void close() {
    towers.close();
  }
}
