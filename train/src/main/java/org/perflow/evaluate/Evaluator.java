package org.perflow.evaluate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.delta.Provenance;
import org.perflow.evaluate.Entrant.Role;
import org.perflow.io.AtomicFiles;
import org.perflow.io.Installation;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.io.Shards;

/**
 * The front door to measuring: from model folders and captions held out from training to figures,
 * drawn from the same noise; {@code org.perflow.report.EvaluationReport} shows them.
 *
 * <pre>{@code
 * Evaluated evaluated =
 *     Evaluator.on(Path.of("models/emoji-features"))
 *         .teacher(Path.of("models/emoji-64"))
 *         .student(Path.of("models/emoji-64-perflow"))
 *         .data(Path.of("data/emoji-64"))
 *         .options(EvaluatorOptions.DEFAULTS.withPictures(64))
 *         .run(System.err::println);
 * new EvaluationReport("Student against its teacher", evaluated).write(Path.of("evaluation"));
 * }</pre>
 *
 * <p>Or pictures that are there already, with those of a folder:
 *
 * <pre>{@code
 * Evaluated pictures =
 *     Evaluator.on(Path.of("inception-2015-12-05.pt"))
 *         .reference(Path.of("real"))
 *         .pictures(List.of(Path.of("drawn")), System.err::println);
 * double fid = pictures.rows().get(0).set().frechet().value();
 * }</pre>
 *
 * <p>Immutable. A run computes on the thread that calls it and frees all its native memory; what
 * {@code progress} is told are lines for people.
 */
public final class Evaluator {
  private final Path features;
  private final List<Entrant> entrants;
  private final List<Path> data;
  private final @Nullable Path reference;
  private final EvaluatorOptions options;
  private final @Nullable Path cache;

  private Evaluator(
      Path features,
      List<Entrant> entrants,
      List<Path> data,
      @Nullable Path reference,
      EvaluatorOptions options,
      @Nullable Path cache) {
    this.features = features;
    this.entrants = List.copyOf(entrants);
    this.data = List.copyOf(data);
    this.reference = reference;
    this.options = options;
    this.cache = cache;
  }

  /**
   * By the features of a {@link FeatureNetwork}'s folder, or of a TorchScript file ({@link
   * TorchScriptFeatures}): with inception-2015-12-05.pt, FD is the standard FID.
   */
  public static Evaluator on(Path features) {
    return new Evaluator(features, List.of(), List.of(), null, EvaluatorOptions.DEFAULTS, null);
  }

  /** A teacher, drawn with by DDIM. The first model that is added is the reference. */
  public Evaluator teacher(Path folder) {
    return with(Entrant.of(Role.TEACHER, folder, null));
  }

  /** A student, drawn with as its folder says, and by PeRFlow where that is no student's. */
  public Evaluator student(Path folder) {
    return with(Entrant.of(Role.STUDENT, folder, null));
  }

  /**
   * Any model, drawn with as its folder says and named as the folder is, with folders above it
   * where others are called the same.
   */
  public Evaluator model(Path folder) {
    return with(Entrant.of(Role.MODEL, folder, null));
  }

  /** Any model, drawn with by a sampler of {@link org.perflow.models.SchedulerConfig#NAMES}. */
  public Evaluator model(Path folder, String sampler) {
    return with(Entrant.of(Role.MODEL, folder, sampler));
  }

  private Evaluator with(Entrant entrant) {
    List<Entrant> more = Stream.concat(entrants.stream(), Stream.of(entrant)).toList();
    return new Evaluator(features, Entrant.named(more), data, reference, options, cache);
  }

  /**
   * Shards whose captions are drawn, or folders with {@code test*.tar}; their pictures teach what
   * measures text agreement.
   */
  public Evaluator data(Path... shardsOrFolders) {
    return data(List.of(shardsOrFolders));
  }

  /** The same from a list. */
  public Evaluator data(List<Path> shardsOrFolders) {
    return new Evaluator(features, entrants, shardsOrFolders, reference, options, cache);
  }

  /** A folder of pictures that sets are compared with; else what the reference model draws. */
  public Evaluator reference(Path pictures) {
    return new Evaluator(features, entrants, data, pictures, options, cache);
  }

  /** Settings; else {@link EvaluatorOptions#DEFAULTS}. */
  public Evaluator options(EvaluatorOptions settings) {
    return new Evaluator(features, entrants, data, reference, settings, cache);
  }

  /** Folder where what the reference drew and features are kept for the next time; else nowhere. */
  public Evaluator cache(Path folder) {
    return new Evaluator(features, entrants, data, reference, options, folder);
  }

  // ---------------------------------------------------------------- models

  /**
   * Draws with every model in each of its numbers of steps and measures them.
   *
   * @param progress told in a line how far it is
   * @throws IOException where models or data cannot be read
   * @throws IllegalArgumentException where no model or no data was named, or a sampler does not
   *     suit its model
   */
  public Evaluated run(Consumer<String> progress) throws IOException {
    return withUsableCache(progress).measured(progress);
  }

  private Evaluated measured(Consumer<String> progress) throws IOException {
    if (entrants.isEmpty() || data.isEmpty()) {
      throw new IllegalArgumentException(
          "an evaluation needs models and data with captions; got %d models and data %s"
              .formatted(entrants.size(), data));
    }
    List<Path> shards = Shards.test(data);
    List<Sample> heldOut = ShardReader.readAll(shards);
    List<Entrant.Loaded> models = new ArrayList<>();
    try (Features network = network()) {
      for (Entrant entrant : entrants) {
        models.add(entrant.load(options.compute(), options.device()));
      }
      return measure(network, models, heldOut, progress)
          .about(summary(models), settings(network, models, shards));
    } finally {
      models.forEach(Entrant.Loaded::close);
    }
  }

  private Evaluated measure(
      Features network,
      List<Entrant.Loaded> models,
      List<Sample> heldOut,
      Consumer<String> progress)
      throws IOException {
    List<String> captions = heldOut.stream().map(Sample::caption).toList();
    List<SampledModel> systems = systems(models);
    try (TextAgreement text = textAgreement(network, models.get(0), heldOut, progress);
        PictureFolder.Seen real =
            reference == null ? null : seen(reference, network, Optional.empty(), progress)) {
      return Evaluated.of(
          systems.get(0),
          systems.subList(1, systems.size()),
          Case.of(captions, options.pictures(), options.seed()),
          new Evaluation.Measures(
              network, real == null ? null : set(real, 0), text, resamples(network)),
          text == null ? null : text.agreement(heldOut),
          settings(systems),
          done -> progress.accept(done.toString()));
    }
  }

  private List<SampledModel> systems(List<Entrant.Loaded> models) {
    List<SampledModel> systems = new ArrayList<>();
    for (Entrant.Loaded model : models) {
      for (int steps : model.isStudent() ? options.studentSteps() : options.teacherSteps()) {
        systems.add(model.sampled(steps, guidance(model, models)));
      }
    }
    return systems;
  }

  private double guidance(Entrant.Loaded model, List<Entrant.Loaded> models) {
    Double asked = model.isStudent() ? options.studentGuidance() : options.guidance();
    if (asked != null) {
      return asked;
    }
    return model.isStudent() ? model.recommended().guidance() : taughtGuidance(models);
  }

  /**
   * Like with like: a student follows its teacher under one guidance; no student, the reference's.
   */
  private static double taughtGuidance(List<Entrant.Loaded> models) {
    return models.stream()
        .filter(Entrant.Loaded::isStudent)
        .mapToDouble(model -> model.recommended().teacherGuidance())
        .filter(scale -> scale > 1) // 1: it is in the weights of a student that does not say it
        .findFirst()
        .orElseGet(() -> models.get(0).recommended().guidance());
  }

  private Evaluation.Options settings(List<SampledModel> systems) {
    Evaluation.Options standard = Evaluation.Options.DEFAULTS;
    return new Evaluation.Options(
            options.batch(),
            options.compute().dtype(options.device()),
            standard.windows(),
            standard.straightSteps(),
            options.straightPictures(),
            standard.gridCases(),
            cache == null ? null : new TensorCache(cache),
            false)
        .inWindowsOf(systems);
  }

  /** Null where it was not asked for, or there are too few captions to choose from. */
  private @Nullable TextAgreement textAgreement(
      Features network, Entrant.Loaded reader, List<Sample> heldOut, Consumer<String> progress)
      throws IOException {
    if (!options.textAgreement()
        || !TextAgreement.canChooseAmong(heldOut.stream().map(Sample::caption).toList())) {
      return null;
    }
    progress.accept("text agreement: learning from captioned pictures, or reading what was learnt");
    return TextAgreement.train(
        network, reader.model(), heldOut, TextAgreement.Options.DEFAULTS, kept());
  }

  private String summary(List<Entrant.Loaded> models) {
    return "%,d pictures of captions held out from training; reference: %s%s."
        .formatted(
            options.pictures(),
            systems(models).get(0).title(),
            reference == null ? "" : ", sets against the pictures in " + reference);
  }

  private Map<String, String> settings(
      Features network, List<Entrant.Loaded> models, List<Path> shards) {
    Map<String, String> settings = new LinkedHashMap<>();
    for (Entrant entrant : entrants) {
      settings.put(entrant.setting(), Installation.name(entrant.folder()));
    }
    settings.put("features", network.name());
    settings.put("captions", shards.stream().map(Installation::name).toList().toString());
    settings.put("pictures", Integer.toString(options.pictures()));
    settings.put(
        "guidance",
        String.join(
            ", ",
            models.stream()
                .map(model -> guidance(model, models) + " (" + model.entrant().name() + ")")
                .toList()));
    settings.put("first seed", Long.toString(options.seed()));
    settings.put("dtype", options.compute().settled(options.device()).torchName());
    settings.put("device", options.device().settled().toString());
    settings.put("resamples", Integer.toString(resamples(network)));
    settings.put("software", Provenance.software());
    return settings;
  }

  // ---------------------------------------------------------------- pictures

  /**
   * Compares pictures that are there already with those of {@link #reference}; nothing is drawn.
   *
   * @param folders of PNG, JPEG or WebP files or shards, all pictures of one size
   * @param progress told in a line how far it is
   * @throws IOException where a picture cannot be read
   * @throws IllegalArgumentException where there is no reference, models were named as well, or a
   *     picture has another size
   */
  public Evaluated pictures(List<Path> folders, Consumer<String> progress) throws IOException {
    return withUsableCache(progress).compared(folders, progress);
  }

  private Evaluated compared(List<Path> folders, Consumer<String> progress) throws IOException {
    Path against = reference;
    if (against == null || !entrants.isEmpty() || folders.isEmpty()) {
      throw new IllegalArgumentException(
          "folders of pictures are compared with a reference folder, and not with models; got %s,"
                  .formatted(folders)
              + " the reference %s and %d models".formatted(against, entrants.size()));
    }
    List<Measurement> rows = new ArrayList<>();
    List<String> names = Entrant.namesOf(folders);
    int fewest = Integer.MAX_VALUE;
    try (Features network = network();
        PictureFolder.Seen real = seen(against, network, Optional.empty(), progress)) {
      FeatureSet wanted = set(real, 0);
      for (Path folder : folders) {
        try (PictureFolder.Seen seen = seen(folder, network, Optional.of(real.size()), progress)) {
          FeatureSet drawn = set(seen, rows.size() + 1);
          fewest = Math.min(fewest, drawn.size());
          String label = "%s (%,d)".formatted(names.get(rows.size()), drawn.size());
          rows.add(
              Measurement.ofPictures(label, SetFigures.between(drawn, wanted, resamples(network))));
        }
      }
      Map<String, String> settings = new LinkedHashMap<>();
      settings.put("reference", "%s, %,d pictures".formatted(against, wanted.size()));
      settings.put("features", network.name());
      settings.put("resamples", Integer.toString(resamples(network)));
      settings.put("software", Provenance.software());
      return new Evaluated(
          network.name(),
          fewest,
          rows,
          null,
          PictureGrid.none(),
          "Reference: %,d pictures in %s.".formatted(wanted.size(), against),
          settings);
    }
  }

  private PictureFolder.Seen seen(
      Path folder, Features network, Optional<PictureFolder.Size> size, Consumer<String> progress)
      throws IOException {
    PictureFolder pictures = PictureFolder.of(folder);
    progress.accept("%s: features of %,d files".formatted(folder, pictures.files().size()));
    return pictures.features(network, size, kept());
  }

  /** Independent of other folders: each is resampled by a seed of its own. */
  private static FeatureSet set(PictureFolder.Seen seen, long seed) {
    int pictures = (int) seen.features().size(0);
    return new FeatureSet(seen.features(), Bootstrap.byPicture(pictures, 1000 + seed));
  }

  private Features network() throws IOException {
    Features network =
        Files.isDirectory(features)
            ? FeatureNetwork.load(features)
            : TorchScriptFeatures.load(features);
    network.to(options.device());
    return network;
  }

  private int resamples(Features network) {
    Integer asked = options.resamples();
    return asked != null ? asked : network instanceof TorchScriptFeatures ? 20 : 100;
  }

  /** A folder that cannot be written costs time the next time, and no evaluation now. */
  private Evaluator withUsableCache(Consumer<String> progress) {
    if (cache == null) {
      return this;
    }
    try {
      AtomicFiles.checkFolder(cache);
      return this;
    } catch (IOException e) {
      progress.accept("nothing is kept for the next time: " + e.getMessage());
      return new Evaluator(features, entrants, data, reference, options, null);
    }
  }

  private Optional<TensorCache> kept() {
    return Optional.ofNullable(cache).map(TensorCache::new);
  }
}
