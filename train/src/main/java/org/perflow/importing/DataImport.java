package org.perflow.importing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.importing.ImportPlan.Shard;
import org.perflow.importing.Preparation.About;
import org.perflow.importing.ShardImport.Thumb;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FolderLock;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.models.CLIPTokenizer;
import org.perflow.models.DiffusionModel;

/**
 * The front door for one's own pictures: from folders and other sources to WebDataset shards that
 * training reads, {@code train-0000.tar}, ... and {@code test.tar}, with a report beside them.
 *
 * <pre>{@code
 * Imported imported =
 *     DataImport.of(Path.of("my-photos"))
 *         .options(ImportOptions.DEFAULTS.withSize(512))
 *         .out(Path.of("data/mine"))
 *         .run();
 * System.out.println(imported.train() + " pictures to train with");
 * imported.leftOut().forEach(System.out::println); // by name and reason
 * }</pre>
 *
 * <p>What cannot be read is left out and told. The same sources and settings make the same shards,
 * byte by byte. An import that was cut off is gone on with by the same call; one that was finished
 * is found. Immutable; an import uses all processors.
 */
public final class DataImport {
  private static final String STATE = "import.json";
  private static final int KEY = 16; // letters of a fingerprint

  private final List<Weighted> sources;
  private final ImportOptions options;
  private final @Nullable CLIPTokenizer tokenizer;
  private final @Nullable Path out;

  private record Weighted(Path path, int weight) {}

  /**
   * What {@value #STATE} says: of what the shards are, and once they are finished what they hold.
   */
  private record State(
      JsonNode options, List<String> sources, String fingerprint, @Nullable Imported result) {}

  private DataImport(
      List<Weighted> sources,
      ImportOptions options,
      @Nullable CLIPTokenizer tokenizer,
      @Nullable Path out) {
    this.sources = sources;
    this.options = options;
    this.tokenizer = tokenizer;
    this.out = out;
  }

  /**
   * Of folders with all that is in them, tables of files (CSV), and Parquet files and WebDataset
   * shards of others, alone or in folders.
   */
  public static DataImport of(Path... sources) {
    return new DataImport(
        Arrays.stream(sources).map(path -> new Weighted(path, 1)).toList(),
        ImportOptions.DEFAULTS,
        null,
        null);
  }

  /** With one source more, whose pictures training sees {@code weight} times as often. */
  public DataImport and(Path source, int weight) {
    if (weight < 1 || weight > 1000) {
      throw new IllegalArgumentException(
          "the weight of %s is %d, expected 1 to 1000".formatted(source, weight));
    }
    List<Weighted> more =
        Stream.concat(sources.stream(), Stream.of(new Weighted(source, weight))).toList();
    return new DataImport(more, options, tokenizer, out);
  }

  /** Settings; else {@link ImportOptions#DEFAULTS}. */
  public DataImport options(ImportOptions settings) {
    return new DataImport(sources, settings, tokenizer, out);
  }

  /** What counts the tokens of captions; else CLIP's own, which reads 77. */
  public DataImport tokenizer(CLIPTokenizer ofModel) {
    return new DataImport(sources, options, ofModel, out);
  }

  /** Folder of the shards. */
  public DataImport out(Path folder) {
    return new DataImport(sources, options, tokenizer, folder);
  }

  /**
   * Imports, on this thread and others.
   *
   * @throws FormatException where no picture can be taken, or in a strict import one cannot
   * @throws IllegalArgumentException where the folder holds other data
   * @throws IOException where files cannot be written
   */
  public Imported run(ImportListener... listeners) throws IOException {
    Path folder = out;
    if (folder == null || sources.isEmpty()) {
      throw new IllegalArgumentException(
          "an import needs sources and a folder to write to; got " + sources + " and " + out);
    }
    try (ImportPlan plan = plan()) {
      return run(folder, plan, listeners);
    }
  }

  private Imported run(Path folder, ImportPlan plan, ImportListener... listeners)
      throws IOException {
    Run run = new Run(folder, plan, List.of(listeners));
    try (FolderLock lock = FolderLock.take(folder)) {
      return run.run();
    }
  }

  /**
   * What to train a model on: shards and folders of shards as they are, and in the place of folders
   * of pictures and of tables what {@link #run} makes of them, in pictures of the model's size.
   * That is kept in {@code cache}, and found there for as long as the pictures stay what they are.
   *
   * @param model diffusers folder
   * @param data named by the user
   */
  public static List<Path> shards(
      Path model, List<Path> data, Path cache, ImportListener... listeners) throws IOException {
    List<Path> shards = new ArrayList<>();
    for (Path path : data) {
      shards.add(Sources.isToBeImported(path) ? cached(model, path, cache, listeners) : path);
    }
    return shards;
  }

  private static Path cached(Path model, Path source, Path cache, ImportListener... listeners)
      throws IOException {
    DataImport made =
        of(source)
            .options(ImportOptions.DEFAULTS.withSize(DiffusionModel.pixels(model)))
            .tokenizer(CLIPTokenizer.load(model.resolve("tokenizer")));
    Path folder;
    Imported imported;
    try (ImportPlan plan = made.plan()) {
      folder = cache.resolve("imports/" + plan.fingerprint().substring(0, KEY));
      imported = made.run(folder, plan, listeners);
    }
    String note =
        "%s: %,d pictures to train with, %,d held out, %,d left out; more in %s"
            .formatted(
                source,
                imported.train(),
                imported.heldOut(),
                imported.leftOut().size(),
                folder.resolve("report.html"));
    for (ImportListener listener : listeners) {
      listener.onNote(note);
    }
    return folder;
  }

  private ImportPlan plan() throws IOException {
    Listing listing = new Listing();
    List<Source> opened = new ArrayList<>();
    for (Weighted source : sources) {
      Source one = Sources.of(source.path(), source.weight(), options);
      one.list(listing);
      opened.add(one);
    }
    for (LeftOut leftOut : listing.leftOut()) {
      ShardImport.refuse(options.strict(), leftOut);
    }
    if (listing.entries().isEmpty()) {
      throw new FormatException(nothing(listing.leftOut()));
    }
    return ImportPlan.of(opened, listing, options);
  }

  private String nothing(List<LeftOut> leftOut) {
    String named = sources.stream().map(s -> s.path().toString()).collect(Collectors.joining(", "));
    return leftOut.isEmpty()
        ? named + ": no pictures in there (JPEG, PNG, WebP, GIF, BMP or TIFF)"
        : "%s: none of %,d pictures can be taken: %s%s; perflow data import --captions filename takes file names for captions, --caption TEXT one for all"
            .formatted(
                named, leftOut.size(), leftOut.get(0), leftOut.size() > 1 ? ", and so on" : "");
  }

  /** One call. */
  private final class Run implements ImportListener {
    private final Path folder;
    private final ImportPlan plan;
    private final List<ImportListener> listeners;
    private int done;

    Run(Path folder, ImportPlan plan, List<ImportListener> listeners) {
      this.folder = folder;
      this.plan = plan;
      this.listeners = listeners;
    }

    Imported run() throws IOException {
      State state =
          new State(
              Json.MAPPER.valueToTree(options.withStrict(false)), // changes no shard
              sources.stream().map(source -> source.path().toString()).toList(),
              plan.fingerprint(),
              null);
      Imported finished = finished(state);
      if (finished != null) {
        onNote(folder + " holds this import already, finished");
        return finished;
      }
      ShardImport.deleteUnfinished(folder);
      Json.write(folder.resolve(STATE), state);
      Imported result = write();
      Json.write(
          folder.resolve(STATE),
          new State(state.options(), state.sources(), state.fingerprint(), result));
      AtomicFiles.deleteDirectory(notes());
      return result;
    }

    private Path notes() {
      return folder.resolve(".import");
    }

    /** What the folder holds already; null where there is work to do. */
    private @Nullable Imported finished(State wanted) throws IOException {
      Path file = folder.resolve(STATE);
      if (!Files.exists(file)) {
        try (var shards = Files.newDirectoryStream(folder, "{train-,test}*.tar")) {
          if (shards.iterator().hasNext()) {
            throw new IllegalArgumentException(
                folder + " holds shards that no import made: name another folder");
          }
        }
        return null;
      }
      State found = Json.read(file, State.class);
      if (!found.fingerprint().equals(wanted.fingerprint())) {
        throw new IllegalArgumentException(
            "%s holds another import (%s): name another folder, or delete that one"
                .formatted(folder, difference(found, wanted)));
      }
      return found.result();
    }

    private static String difference(State was, State is) {
      List<String> changed = new ArrayList<>();
      ObjectNode before = (ObjectNode) was.options();
      for (var setting : is.options().properties()) {
        JsonNode other = before.path(setting.getKey());
        if (!other.asText().equals(setting.getValue().asText())) {
          changed.add("%s was %s, is %s".formatted(setting.getKey(), other, setting.getValue()));
        }
      }
      if (!was.sources().equals(is.sources())) {
        changed.add("of %s, not of %s".formatted(was.sources(), is.sources()));
      }
      return changed.isEmpty()
          ? "the pictures or their captions have changed since"
          : String.join("; ", changed);
    }

    private Imported write() throws IOException {
      List<LeftOut> leftOut = new ArrayList<>(plan.leftOut());
      List<About> train = new ArrayList<>();
      List<About> test = new ArrayList<>();
      List<Thumb> thumbs = new ArrayList<>();
      onStart(plan.size());
      try (ShardImport shards = new ShardImport(folder, notes(), options)) {
        for (Shard shard : plan.shards()) {
          ShardImport.Note note =
              shards.run(
                  shard,
                  more -> {
                    done += more;
                    onProgress(done);
                  });
          leftOut.addAll(note.leftOut());
          thumbs.addAll(note.thumbs());
          (shard.isHeldOut() ? test : train).addAll(note.pictures());
        }
      }
      if (train.isEmpty()) {
        throw new FormatException(nothing(leftOut));
      }
      CLIPTokenizer counter =
          tokenizer == null ? CLIPTokenizer.standard("<|endoftext|>") : tokenizer;
      ImportReport report = ImportReport.of(options, plan, counter, train, test, leftOut, thumbs);
      report.write(folder);
      return report.imported();
    }

    @Override
    public void onStart(int pictures) {
      listeners.forEach(listener -> listener.onStart(pictures));
    }

    @Override
    public void onProgress(int pictures) {
      listeners.forEach(listener -> listener.onProgress(pictures));
    }

    @Override
    public void onNote(String note) {
      listeners.forEach(listener -> listener.onNote(note));
    }
  }
}
