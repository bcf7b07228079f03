package org.perflow.io;

import static java.util.regex.Pattern.CASE_INSENSITIVE;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.Closeable;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Weights as model folders hold them: one safetensors file, several with an index (shards), a
 * variant such as {@code .fp16.}, or pickles that {@code torch.save} wrote ({@code .bin}).
 */
public final class WeightFiles {
  private static final Pattern WEB_PAGE = Pattern.compile("\\s*<(!doctype|html)", CASE_INSENSITIVE);

  /** Of data-parallel and of compiled modules. */
  private static final Pattern WRAPPERS = Pattern.compile("(module\\.|_orig_mod\\.){1,2}");

  private WeightFiles() {}

  /**
   * Opens a weights file, told by its first bytes, not by its name: safetensors, a pickle of torch,
   * or the {@code .index.json} of shards, which are opened with it. The caller closes it.
   *
   * @throws FormatException saying what is wrong with the file
   */
  public static NamedTensors open(Path file) throws IOException {
    return Reading.of(file, () -> isIndex(file) ? openShards(file) : openFile(file));
  }

  private static NamedTensors openFile(Path file) throws IOException {
    byte[] head = head(file);
    String text = new String(head, StandardCharsets.ISO_8859_1);
    if (text.startsWith("PK\3\4") || text.startsWith(TorchFile.LEGACY_MAGIC)) {
      return unwrapped(TorchFile.open(file));
    }
    if (text.startsWith("version https://git-lfs")) {
      throw new FormatException(
          file + " is a pointer of git-lfs, not the weights themselves: run git lfs pull");
    }
    if (WEB_PAGE.matcher(text).lookingAt()) {
      throw new FormatException(file + " is a web page, not weights: download the file itself");
    }
    return unwrapped(SafetensorsFile.open(file));
  }

  /** Without what torch's wrappers of whole modules put before every name. */
  private static NamedTensors unwrapped(NamedTensors weights) {
    Set<String> names = weights.entries().keySet();
    Matcher first = WRAPPERS.matcher(names.stream().findFirst().orElse(""));
    if (!first.lookingAt() || !names.stream().allMatch(name -> name.startsWith(first.group()))) {
      return weights;
    }
    return TensorView.renamed(weights, name -> name.substring(first.end()));
  }

  private static byte[] head(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new NoSuchFileException(file.toString(), null, "there is no such file");
    }
    try (var in = Files.newInputStream(file)) {
      return in.readNBytes(32);
    }
  }

  // ---------------------------------------------------------------- shards

  /** The files that {@link #open} reads for {@code file}: itself and, of an index, its shards. */
  public static List<Path> parts(Path file) throws IOException {
    List<Path> parts = new ArrayList<>(List.of(file));
    if (isIndex(file)) {
      Set<String> shards = new TreeSet<>();
      names(file).forEach(shard -> shards.add(shard.asText()));
      for (String shard : shards) {
        parts.add(shard(file, shard));
      }
    }
    return parts;
  }

  private static boolean isIndex(Path file) {
    return file.getFileName().toString().endsWith(".json");
  }

  /** Of every tensor its file. */
  private static JsonNode names(Path index) throws IOException {
    JsonNode names = Json.readObject(index).path("weight_map");
    if (!names.isObject() || names.isEmpty()) {
      throw new FormatException(index + ": expected 'weight_map', an object of tensor to file");
    }
    return names;
  }

  private static NamedTensors openShards(Path index) throws IOException {
    JsonNode names = names(index);
    Map<String, NamedTensors> shards = new LinkedHashMap<>();
    Closeable all = () -> closeAll(shards.values());
    try {
      Map<String, LazyTensor> tensors = new LinkedHashMap<>();
      for (var property : names.properties()) {
        String name = property.getKey();
        String file = property.getValue().asText();
        NamedTensors shard = shards.get(file);
        if (shard == null) {
          shard = open(shard(index, file));
          shards.put(file, shard);
        }
        if (!shard.entries().containsKey(name)) {
          throw new FormatException(
              "%s: the tensor '%s' is not in %s; download the folder again"
                  .formatted(index, name, shard));
        }
        tensors.put(name, LazyTensor.of(shard, name));
      }
      return new TensorView(index.toString(), tensors, Map.of(), all);
    } catch (IOException | RuntimeException e) {
      all.close();
      throw e;
    }
  }

  private static Path shard(Path index, String name) throws FormatException {
    Path shard =
        Inside.child(Objects.requireNonNullElse(index.getParent(), Path.of("")), name, index);
    if (name.endsWith(".json")) {
      throw new FormatException(index + ": '" + name + "' is no file of weights");
    }
    if (!Files.isRegularFile(shard)) {
      throw new FormatException(index + ": its part " + shard + " is missing; download it too");
    }
    return shard;
  }

  private static void closeAll(Iterable<NamedTensors> shards) throws IOException {
    for (NamedTensors shard : shards) {
      shard.close();
    }
  }

  // ---------------------------------------------------------------- folders

  private record Candidate(String file, boolean pickle, String variant) {}

  /**
   * The weights of a model folder, in diffusers' order: {@code NAME.safetensors}, else its shards,
   * else the same as {@code .bin}; where only variants are there, that one, or {@code fp16} of
   * several.
   *
   * @param name such as {@code diffusion_pytorch_model}; may end in {@code .safetensors}
   * @param others names to look for where there is nothing of the first
   * @throws FormatException where there are none, or several variants to choose from
   */
  public static Path find(Path folder, String name, String... others) throws IOException {
    String stem = name.replaceFirst("\\.safetensors$", "");
    List<String> stems = new ArrayList<>(List.of(stem));
    stems.addAll(List.of(others));
    String chosen = choose(content(folder), stems, null, folder);
    if (chosen == null) {
      throw new FormatException(
          "%s is missing, and so are its shards (%s.safetensors.index.json), variants (%s.fp16.safetensors) and %s.bin"
              .formatted(folder.resolve(stem + ".safetensors"), stem, stem, pickleStem(stem)));
    }
    return folder.resolve(chosen);
  }

  private static List<String> content(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  /**
   * The same choice of the names in a folder, which may be elsewhere.
   *
   * @param stems such as {@code diffusion_pytorch_model}; the first that there is anything of
   *     counts
   * @param variant such as {@code fp16}, taken where it is there; null = none is preferred
   * @param folder for messages
   * @return the file, or the index of shards; null where there are none
   * @throws FormatException where there are several variants to choose from
   */
  public static @Nullable String choose(
      Collection<String> names, List<String> stems, @Nullable String variant, Object folder)
      throws FormatException {
    for (String stem : stems) {
      List<Candidate> found = candidates(names, stem);
      if (!found.isEmpty()) {
        return choose(folder, fitting(found, variant));
      }
    }
    return null;
  }

  /** Those of the first kind that there is any of. */
  private static List<Candidate> fitting(List<Candidate> found, @Nullable String variant) {
    List<Predicate<Candidate>> kinds = new ArrayList<>();
    if (variant != null) {
      kinds.add(c -> c.variant.equals(variant));
    }
    kinds.add(c -> c.variant.isEmpty());
    kinds.add(c -> true);
    for (Predicate<Candidate> kind : kinds) {
      for (boolean pickle : new boolean[] {false, true}) {
        List<Candidate> fitting =
            found.stream().filter(c -> c.pickle == pickle).filter(kind).toList();
        if (!fitting.isEmpty()) {
          return fitting;
        }
      }
    }
    return found;
  }

  private static String choose(Object folder, List<Candidate> fitting) throws FormatException {
    List<String> variants = fitting.stream().map(Candidate::variant).distinct().sorted().toList();
    String wanted = variants.contains("fp16") ? "fp16" : variants.get(0);
    if (variants.size() > 1 && !wanted.equals("fp16")) {
      throw new FormatException(
          folder + " holds the variants " + variants + " of its weights; keep the one to use");
    }
    return fitting.stream()
        .filter(c -> c.variant.equals(wanted))
        .map(Candidate::file)
        .min(Comparator.naturalOrder()) // .safetensors comes before .safetensors.index
        .orElseThrow();
  }

  private static List<Candidate> candidates(Collection<String> names, String stem) {
    Pattern safetensors = pattern(stem, "safetensors");
    Pattern bin = pattern(pickleStem(stem), "bin");
    List<Candidate> found = new ArrayList<>();
    for (String name : names) {
      for (Pattern pattern : new Pattern[] {safetensors, bin}) {
        Matcher matcher = pattern.matcher(name);
        if (matcher.matches()) {
          String before = matcher.group("before");
          String variant = before == null ? matcher.group("after") : before;
          found.add(new Candidate(name, pattern == bin, variant == null ? "" : variant));
        }
      }
    }
    return found;
  }

  /**
   * NAME.VARIANT.safetensors or, for shards, NAME.safetensors.index.VARIANT.json; no single shard.
   */
  private static Pattern pattern(String stem, String extension) {
    return Pattern.compile(
        Pattern.quote(stem)
            + "(\\.(?<before>(?!\\w+-\\d+-of-)[\\w-]+))?\\."
            + extension
            + "(\\.index(\\.(?<after>\\w+))?\\.json)?");
  }

  /** Transformers calls its pickles otherwise. */
  private static String pickleStem(String stem) {
    return stem.equals("model") ? "pytorch_model" : stem;
  }
}
