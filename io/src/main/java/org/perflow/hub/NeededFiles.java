package org.perflow.hub;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.perflow.io.FormatException;
import org.perflow.io.Inside;
import org.perflow.io.Suggestions;
import org.perflow.io.WeightFiles;

/**
 * Chooses the files of a repository that are read here: of a pipeline those of the parts that its
 * index names and that draw; of every part its settings and its weights once, as {@link
 * WeightFiles} chooses them: safetensors before pickles, the variant asked for. Nothing of other
 * frameworks.
 */
final class NeededFiles {
  private static final String INDEX = "model_index.json";

  /** Parts of pipelines that are read; the safety checker, a gigabyte, is not. */
  private static final Set<String> PARTS =
      Set.of(
          "unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler");

  /** What weights of parts, LoRAs, deltas and textual inversions are called. */
  private static final List<String> STEMS =
      List.of(
          "diffusion_pytorch_model",
          "model",
          "pytorch_lora_weights",
          "adapter_model",
          "delta",
          "delta_weights",
          "learned_embeds");

  private static final Pattern SETTINGS =
      Pattern.compile("(?!.*\\.(safetensors|bin)\\.index\\.).*\\.(json|txt)");
  private static final Pattern WEIGHTS = Pattern.compile(".+\\.(safetensors|bin|ckpt|pt|pth)");
  private static final Pattern VARIANT =
      Pattern.compile(".+?\\.([\\w-]+?)(-\\d+-of-\\d+)?\\.(safetensors|bin)");

  /** Reads a JSON file of the repository, which is fetched where it is missing. */
  @FunctionalInterface
  interface Reader {
    JsonNode read(RepositoryFile file) throws IOException;
  }

  /** Says whether a file has been fetched. */
  @FunctionalInterface
  interface Present {
    boolean test(RepositoryFile file) throws IOException;
  }

  /**
   * What was chosen.
   *
   * @param path that stands for it all: a folder, a file, or empty for the repository
   * @param files to have
   */
  record Chosen(String path, List<RepositoryFile> files) {}

  private final HubName name;
  private final Map<String, RepositoryFile> files;
  private final RepositoryTree tree;
  private final @Nullable String variant;
  private final Reader reader;
  private final Present present;
  private boolean variantFound;

  NeededFiles(
      HubName name, RepositoryTree tree, @Nullable String variant, Reader reader, Present present) {
    this.name = name;
    this.files = tree.files();
    this.tree = tree;
    this.variant = variant;
    this.reader = reader;
    this.present = present;
  }

  /**
   * What the name asks for.
   *
   * @throws HubException saying what there is, where there is no such thing or nothing to choose
   */
  Chosen choose() throws IOException {
    String path = name.path();
    if (files.containsKey(path)) {
      return new Chosen(path, withShards(path));
    }
    String folder = path.isEmpty() ? "" : path + "/";
    if (files.keySet().stream().noneMatch(file -> file.startsWith(folder))) {
      throw new HubException(
          HubException.Kind.ABSENT,
          "%s: the repository has no %s; it has %s%s"
              .formatted(name, path, content(), meant(path)));
    }
    Chosen chosen = files.containsKey(folder + INDEX) ? pipeline(folder) : part(folder);
    if (variant != null && !variantFound) {
      throw new HubException(
          HubException.Kind.ABSENT,
          "%s: no weights of the variant %s; it has %s".formatted(name, variant, variants(folder)));
    }
    return chosen;
  }

  private Chosen pipeline(String folder) throws IOException {
    List<RepositoryFile> needed = new ArrayList<>();
    needed.add(files.get(folder + INDEX));
    for (var part : reader.read(files.get(folder + INDEX)).properties()) {
      boolean named = part.getValue().isArray() && part.getValue().hasNonNull(0);
      if (named && PARTS.contains(part.getKey())) {
        needed.addAll(settings(folder + part.getKey() + "/"));
        needed.addAll(weights(folder + part.getKey() + "/"));
      }
    }
    RepositoryFile provenance = files.get(folder + "provenance.json");
    if (provenance != null) {
      needed.add(provenance);
    }
    return new Chosen(strip(folder), needed);
  }

  /** A network, a tokenizer, a LoRA, a delta, or a checkpoint by itself. */
  private Chosen part(String folder) throws IOException {
    List<RepositoryFile> needed = new ArrayList<>(settings(folder));
    needed.addAll(settings(folder + "scheduler/")); // a delta says how it is sampled
    List<RepositoryFile> weights = weights(folder);
    needed.addAll(weights);
    if (!weights.isEmpty() || needed.stream().anyMatch(NeededFiles::isConfig)) {
      return new Chosen(strip(folder), needed);
    }
    List<String> single =
        tree.namesIn(folder).stream().filter(file -> WEIGHTS.matcher(file).matches()).toList();
    List<String> safe = single.stream().filter(file -> file.endsWith(".safetensors")).toList();
    List<String> candidates = safe.isEmpty() ? single : safe;
    if (candidates.size() == 1) {
      return new Chosen(folder + candidates.get(0), withShards(folder + candidates.get(0)));
    }
    if (candidates.isEmpty() && !needed.isEmpty()) {
      return new Chosen(strip(folder), needed);
    }
    String where = name.repository() + (name.revision() == null ? "" : "@" + name.revision());
    throw new HubException(
        HubException.Kind.ABSENT,
        candidates.isEmpty()
            ? "%s holds no model that is read here; it has %s".formatted(name, content())
            : "%s holds several weights files: name one, such as %s:%s; there are %s"
                .formatted(name, where, folder + candidates.get(0), String.join(", ", candidates)));
  }

  private static boolean isConfig(RepositoryFile file) {
    return file.path().matches("(.*/)?(config|tokenizer_config|scheduler_config)\\.json");
  }

  private List<RepositoryFile> settings(String folder) {
    return tree.namesIn(folder).stream()
        .filter(file -> SETTINGS.matcher(file).matches())
        .map(file -> files.get(folder + file))
        .toList();
  }

  private List<RepositoryFile> weights(String folder) throws IOException {
    List<String> names = tree.namesIn(folder);
    String best = variant == null ? unasked(names, folder) : choose(names, variant, folder);
    if (best == null) {
      return List.of();
    }
    variantFound |= variant != null && best.contains("." + variant + ".");
    return withShards(folder + best);
  }

  /** The plain weights or what there is instead, unless only those of a variant are here. */
  private @Nullable String unasked(List<String> names, String folder) throws IOException {
    String here = variantThatIsHere(names, folder);
    try {
      String best = choose(names, null, folder);
      return best == null || here == null || isHere(withShards(folder + best, true)) ? best : here;
    } catch (FormatException e) {
      if (here != null) {
        return here;
      }
      String first = variantsIn(names).iterator().next();
      throw new HubException(
          HubException.Kind.ABSENT,
          "%s has weights of the variants %s and no plain ones: perflow models fetch %s --variant %s takes one, which is used from then on"
              .formatted(name, variants(folder), name, first),
          e);
    }
  }

  private @Nullable String variantThatIsHere(List<String> names, String folder) throws IOException {
    for (String each : variantsIn(names)) {
      try {
        String file = choose(names, each, folder);
        if (file != null
            && file.contains("." + each + ".")
            && isHere(withShards(folder + file, true))) {
          return file;
        }
      } catch (FormatException e) {
        continue; // it is a variant of something else, such as a LoRA
      }
    }
    return null;
  }

  private @Nullable String choose(List<String> names, @Nullable String which, String folder)
      throws FormatException {
    return WeightFiles.choose(names, STEMS, which, name.repository() + "/" + folder);
  }

  private boolean isHere(Collection<RepositoryFile> all) throws IOException {
    for (RepositoryFile file : all) {
      if (!present.test(file)) {
        return false;
      }
    }
    return true;
  }

  private List<RepositoryFile> withShards(String path) throws IOException {
    return withShards(path, false);
  }

  /**
   * A file, and those that it names if it is an index of shards.
   *
   * @param asFetched an index that has not been fetched is taken by itself: the answer is "no" then
   */
  private List<RepositoryFile> withShards(String path, boolean asFetched) throws IOException {
    RepositoryFile file = files.get(path);
    List<RepositoryFile> all = new ArrayList<>(List.of(file));
    boolean index = path.matches(".*\\.index(\\.[\\w-]+)?\\.json");
    if (!index || (asFetched && !present.test(file))) {
      return all;
    }
    Set<String> shards = new TreeSet<>();
    reader.read(file).path("weight_map").forEach(shard -> shards.add(shard.asText()));
    for (String shard : shards) {
      String folder = path.substring(0, path.lastIndexOf('/') + 1);
      Inside.child(Path.of(""), shard, path);
      RepositoryFile part = files.get(folder + shard);
      if (part == null) {
        throw new HubException(
            HubException.Kind.DAMAGED,
            "%s: %s names the shard %s, which the repository does not have"
                .formatted(name, path, shard));
      }
      all.add(part);
    }
    return all;
  }

  // ---------------------------------------------------------------- words

  private static Set<String> variantsIn(Collection<String> names) {
    Set<String> variants = new TreeSet<>();
    for (String file : names) {
      Matcher matcher = VARIANT.matcher(file);
      if (matcher.matches()) {
        variants.add(matcher.group(1));
      }
    }
    return variants;
  }

  private String variants(String folder) {
    Set<String> all =
        variantsIn(files.keySet().stream().filter(file -> file.startsWith(folder)).toList());
    return all.isEmpty() ? "none" : String.join(", ", all);
  }

  private String content() {
    List<String> shown = files.keySet().stream().limit(20).toList();
    return files.size() > shown.size()
        ? String.join(", ", shown) + " and " + (files.size() - shown.size()) + " more"
        : String.join(", ", shown);
  }

  private String meant(String path) {
    Set<String> known = new TreeSet<>(files.keySet());
    files.keySet().stream()
        .filter(file -> file.contains("/"))
        .forEach(file -> known.add(file.substring(0, file.lastIndexOf('/'))));
    return Suggestions.nearest(path, known).map(near -> "; did you mean " + near + "?").orElse("");
  }

  private static String strip(String folder) {
    return folder.replaceFirst("/$", "");
  }
}
