package org.perflow.evaluate;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.awt.image.BufferedImage;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Fingerprint;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Compares ways of drawing against a reference, prompt by prompt from the same noise.
 *
 * <pre>{@code
 * SampledModel reference = new SampledModel("Teacher, DDIM", teacher, "ddim", 50, 3);
 * List<Case> cases = Case.of(captions, 64, 1_000_000);
 * Evaluation.Measures measures = Evaluation.Measures.on(features);
 * try (Evaluation evaluation =
 *     Evaluation.against(reference, cases, measures, Evaluation.Options.DEFAULTS, done -> {})) {
 *   Measurement four =
 *       evaluation.measure(new SampledModel("Student, PeRFlow", student, "perflow", 4, 3));
 *   Measurement ddim =
 *       evaluation.measure(new SampledModel("Teacher, DDIM", teacher, "ddim", 4, 3));
 *   Estimate gain = ddim.pictures().error().minus(four.pictures().error());
 *   boolean better = gain.isNotZero() && gain.value() > 0;
 * }
 * }</pre>
 *
 * <p>Holds the reference's pictures, latents and features (about 16 kB a 64 × 64 picture) until
 * closed; models, the feature network and what measures text agreement stay the caller's. Used by
 * one thread.
 */
public final class Evaluation implements AutoCloseable {
  private static final long BOOTSTRAP_SEED = 0;

  /**
   * What pictures are compared by.
   *
   * @param features network of the figures of sets
   * @param real the set that sets are compared with, on the same features; null for the reference
   *     candidate's pictures
   * @param text tells the caption of a picture from others; null where none was trained
   * @param resamples bootstrap resamples of the distances between sets, each as costly as the
   *     distance; figures that are means always have 2000
   */
  public record Measures(
      Features features, @Nullable FeatureSet real, @Nullable TextAgreement text, int resamples) {

    /** Sets against the reference's pictures, 100 resamples. */
    public static Measures on(Features features) {
      return new Measures(features, null, null, 100);
    }
  }

  /**
   * Settings.
   *
   * @param batch pictures drawn at once
   * @param compute element type of text encoder, U-Net and decoder
   * @param windows time windows that straightness is measured in
   * @param straightSteps steps that trajectories are recorded with, a multiple of windows
   * @param straightCases how many of the cases they are recorded for
   * @param gridCases how many of the cases are kept as pictures for the report
   * @param cache keeps what the reference drew, so that the next evaluation need not; null for none
   * @param cacheAll keeps what the others drew, too
   */
  public record Options(
      int batch,
      DType compute,
      int windows,
      int straightSteps,
      int straightCases,
      int gridCases,
      @Nullable TensorCache cache,
      boolean cacheAll) {
    /** Batches of 32 in float32; 100 steps through 4 windows on 32 cases; 8 pictures kept. */
    public static final Options DEFAULTS = new Options(32, DType.F32, 4, 100, 32, 8, null, false);

    public Options {
      if (batch < 1 || straightCases < 1 || gridCases < 0) {
        throw new IllegalArgumentException(
            "evaluation needs batch and straightCases of 1 or more and gridCases of 0 or more; got "
                + batch
                + ", "
                + straightCases
                + ", "
                + gridCases);
      }
      if (windows < 1 || straightSteps % windows != 0 || straightSteps < 2 * windows) {
        throw new IllegalArgumentException(
            "straightSteps must be a multiple of the windows, two a window or more; got "
                + straightSteps
                + " steps for "
                + windows
                + " windows");
      }
    }

    /**
     * The same, straightness measured in the time windows that the first PeRFlow model among {@code
     * models} draws through; in these windows where there is none. As many steps as divide.
     */
    public Options inWindowsOf(List<SampledModel> models) {
      int own =
          models.stream()
              .map(SampledModel::windows)
              .flatMapToInt(OptionalInt::stream)
              .findFirst()
              .orElse(windows);
      int each = Math.max(2, straightSteps / own);
      return new Options(
          batch, compute, own, each * own, straightCases, gridCases, cache, cacheAll);
    }
  }

  /** How far a candidate is. */
  public record Progress(Candidate candidate, long pictures, long of) {
    /** As people read it. */
    @Override
    public String toString() {
      return "%s: %d of %d pictures".formatted(candidate.title(), pictures, of);
    }
  }

  /** Straightness of the recorded trajectories. */
  private record Bend(Straightness inWindows, Straightness rectified) {}

  /** Everything that one candidate drew; tensors on no scope, pictures uint8. */
  private record Gallery(
      Tensor latents,
      Tensor pictures,
      Tensor features,
      double seconds,
      double decodeSeconds,
      @Nullable Bend bend)
      implements AutoCloseable {
    @Override
    public void close() {
      latents.close();
      pictures.close();
      features.close();
    }
  }

  private final Candidate reference;
  private final List<Case> cases;
  private final Measures measures;
  private final Options options;
  private final Consumer<Progress> listener;
  private final Bootstrap bootstrap;
  private final Gallery expected;
  private final List<PictureGrid.Line> lines = new ArrayList<>();
  private final List<Measurement> rows = new ArrayList<>();

  private Evaluation(
      Candidate reference,
      List<Case> cases,
      Measures measures,
      Options options,
      Consumer<Progress> listener) {
    if (cases.size() < PrecisionRecall.FEWEST) {
      throw new IllegalArgumentException(
          "evaluation needs "
              + PrecisionRecall.FEWEST
              + " cases or more; got "
              + cases.size()
              + ": precision and recall look at the nearest "
              + (PrecisionRecall.FEWEST - 1)
              + " pictures");
    }
    this.reference = reference;
    this.cases = List.copyOf(cases);
    this.measures = measures;
    this.options = options;
    this.listener = listener;
    this.bootstrap = Bootstrap.byGroup(prompts(), BOOTSTRAP_SEED);
    this.expected = drawOrRead("reference", reference);
  }

  /**
   * Draws the reference, or reads it from the cache, and measures it too (its errors are 0).
   * Drawing takes as long as that does.
   */
  public static Evaluation against(
      Candidate reference,
      List<Case> cases,
      Measures measures,
      Options options,
      Consumer<Progress> listener) {
    Evaluation evaluation = new Evaluation(reference, cases, measures, options, listener);
    try {
      evaluation.record(reference, evaluation.expected, measures.real() != null);
      return evaluation;
    } catch (RuntimeException e) {
      evaluation.close();
      throw e;
    }
  }

  /** Draws all cases with {@code candidate} and measures them against the reference's. */
  public Measurement measure(Candidate candidate) {
    try (Gallery gallery = options.cacheAll() ? drawOrRead("drawn", candidate) : draw(candidate)) {
      return record(candidate, gallery, true);
    }
  }

  /** All measurements so far, the reference first. */
  public List<Measurement> rows() {
    return List.copyOf(rows);
  }

  /** The first pictures of every candidate measured so far. */
  public PictureGrid grid() {
    List<String> prompts = prompts().subList(0, Math.min(options.gridCases(), cases.size()));
    return new PictureGrid(prompts, lines);
  }

  private List<String> prompts() {
    return cases.stream().map(Case::prompt).toList();
  }

  /** Null for a model whose latents are of another kind than the reference's. */
  private @Nullable PairedError latentError(Gallery gallery) {
    Tensor drawn = gallery.latents();
    return Arrays.equals(drawn.shape(), expected.latents().shape())
        ? PairedError.of(PairedError.meanSquares(drawn, expected.latents()), bootstrap)
        : null;
  }

  private Measurement record(Candidate candidate, Gallery gallery, boolean asSet) {
    FeatureSet drawn = new FeatureSet(gallery.features(), bootstrap);
    FeatureSet real = measures.real();
    FeatureSet set = real == null ? new FeatureSet(expected.features(), bootstrap) : real;
    TextAgreement text = measures.text();
    Bend bend = gallery.bend();
    Measurement row =
        new Measurement(
            candidate.label(),
            candidate.steps(),
            candidate.networkEvaluations(),
            PairedError.of(pictureErrors(gallery), bootstrap),
            latentError(gallery),
            asSet ? SetFigures.between(drawn, set, measures.resamples()) : null,
            Diversity.of(gallery.features(), prompts(), BOOTSTRAP_SEED).orElse(null),
            text == null || !TextAgreement.canChooseAmong(prompts())
                ? null
                : bootstrap.mean(text.hits(gallery.features(), prompts())),
            gallery.seconds(),
            gallery.decodeSeconds(),
            bend == null ? null : bend.inWindows(),
            bend == null ? null : bend.rectified());
    rows.add(row);
    lines.add(new PictureGrid.Line(row.title(), firstPictures(gallery)));
    return row;
  }

  private double[] pictureErrors(Gallery gallery) {
    double[] errors = new double[cases.size()];
    for (int from = 0; from < errors.length; from += options.batch()) {
      try (Scope scope = Scope.open()) {
        long count = Math.min(options.batch(), errors.length - from);
        Tensor a = signed(gallery.pictures().narrow(0, from, count));
        Tensor b = signed(expected.pictures().narrow(0, from, count));
        double[] part = PairedError.ofPictures(a, b).meanSquares();
        System.arraycopy(part, 0, errors, from, part.length);
      }
    }
    return errors;
  }

  private Gallery draw(Candidate candidate) {
    List<Double> seconds = new ArrayList<>();
    List<Double> decodeSeconds = new ArrayList<>();
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      List<Tensor> latents = new ArrayList<>();
      List<Tensor> pictures = new ArrayList<>();
      List<Tensor> seen = new ArrayList<>();
      for (int from = 0; from < cases.size(); from += options.batch()) {
        List<Case> batch = cases.subList(from, Math.min(cases.size(), from + options.batch()));
        try (Scope step = Scope.open()) {
          Candidate.Drawn drawn = candidate.draw(batch, options.compute());
          Tensor levels = drawn.pictures().clamp(-1, 1).add(1).mul(127.5).round().to(DType.U8);
          latents.add(step.keep(drawn.latents().to(DType.F32).copy()));
          pictures.add(step.keep(levels));
          seen.add(step.keep(measures.features().ofAnySize(signed(levels)).to(DType.F32)));
          seconds.add(drawn.seconds() / batch.size());
          decodeSeconds.add(drawn.decodeSeconds() / batch.size());
        }
        listener.accept(new Progress(candidate, from + batch.size(), cases.size()));
      }
      Tensor allLatents = Tensor.cat(0, latents);
      Tensor allPictures = Tensor.cat(0, pictures);
      Tensor allFeatures = Tensor.cat(0, seen);
      Bend bend = bend(candidate);
      return new Gallery( // last, as what is released has nobody to free it until this is made
          scope.release(allLatents),
          scope.release(allPictures),
          scope.release(allFeatures),
          median(seconds),
          median(decodeSeconds),
          bend);
    }
  }

  private @Nullable Bend bend(Candidate candidate) {
    List<Case> recorded = cases.subList(0, Math.min(cases.size(), options.straightCases()));
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return candidate
          .trajectories(recorded, options.straightSteps(), options.compute())
          .map(
              drawn ->
                  new Bend(
                      Straightness.inWindows(drawn.inTime(), options.windows()),
                      Straightness.of(drawn.rectified())))
          .orElse(null);
    }
  }

  // ---------------------------------------------------------------- cache

  /** What the cache keeps beside the tensors. */
  private record Kept(double seconds, double decodeSeconds, @Nullable Bend bend) {}

  private Gallery drawOrRead(String kind, Candidate candidate) {
    TensorCache cache = options.cache();
    Optional<String> itself = cache == null ? Optional.empty() : candidate.fingerprint();
    if (cache == null || itself.isEmpty()) {
      return draw(candidate);
    }
    String key = key(itself.get());
    try (Scope scope = Scope.open()) {
      Optional<TensorCache.Content> kept = cache.read(kind, key);
      if (kept.isPresent()) {
        Map<String, Tensor> tensors = kept.get().tensors();
        Kept text = Json.MAPPER.readValue(kept.get().text().get("kept"), Kept.class);
        listener.accept(new Progress(candidate, cases.size(), cases.size()));
        return new Gallery(
            scope.release(tensors.get("latents")),
            scope.release(tensors.get("pictures")),
            scope.release(tensors.get("features")),
            text.seconds(),
            text.decodeSeconds(),
            text.bend());
      }
    } catch (JsonProcessingException e) {
      throw new UncheckedIOException(e);
    }
    Gallery gallery = draw(candidate);
    try {
      cache.write(kind, key, content(gallery));
      return gallery;
    } catch (RuntimeException e) {
      gallery.close();
      throw e;
    }
  }

  private static TensorCache.Content content(Gallery gallery) {
    Kept text = new Kept(gallery.seconds(), gallery.decodeSeconds(), gallery.bend());
    try {
      return new TensorCache.Content(
          Map.of(
              "latents", gallery.latents(),
              "pictures", gallery.pictures(),
              "features", gallery.features()),
          Map.of("kept", Json.MAPPER.writeValueAsString(text)));
    } catch (JsonProcessingException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Changes with the candidate, the cases and every setting that reaches its pictures. */
  private String key(String candidate) {
    List<String> parts = new ArrayList<>();
    parts.add(candidate);
    parts.add(measures.features().fingerprint());
    parts.add(options.compute().torchName());
    parts.add(options.windows() + " " + options.straightSteps() + " " + options.straightCases());
    cases.forEach(each -> parts.add(each.seed() + " " + each.prompt()));
    return Fingerprint.of(parts);
  }

  /** uint8 to float32 in [-1, 1]. */
  private static Tensor signed(Tensor levels) {
    return levels.to(DType.F32).div(127.5).sub(1);
  }

  private List<BufferedImage> firstPictures(Gallery gallery) {
    int count = Math.min(options.gridCases(), cases.size());
    if (count == 0) {
      return List.of();
    }
    try (Scope scope = Scope.open()) {
      return Images.fromTensor(signed(gallery.pictures().narrow(0, 0, count)));
    }
  }

  private static double median(List<Double> values) {
    double[] sorted = values.stream().mapToDouble(Double::doubleValue).toArray();
    Arrays.sort(sorted);
    int half = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  /** The candidate that the others are measured against. */
  public Candidate reference() {
    return reference;
  }

  /** Frees the reference's pictures. */
  @Override
  public void close() {
    expected.close();
  }
}
