package org.perflow.models.lora;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.NamedTensors;
import org.perflow.io.WeightFiles;
import org.perflow.models.SchedulerConfig;
import org.perflow.models.lora.LoraNames.Name;
import org.perflow.models.lora.LoraNames.Role;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Reads a LoRA: its layers, and how strong each was trained to be. That is said, in the order in
 * which it is looked for, by a tensor {@code alpha} of the layer (kohya's scripts), by the header
 * (newer diffusers), or by {@code adapter_config.json} beside the file (peft); else α is r. Every
 * name, shape and value is checked.
 */
final class LoraReader {
  /** Key of the metadata, see {@link LoraFile#SCHEDULER}. */
  static final String SCHEDULER = "perflow_scheduler_config";

  private static final String HEADER = "lora_adapter_metadata";
  private static final String BESIDE = "adapter_config.json";
  private static final Pattern ORIGINAL = // names of SDXL's original code
      Pattern.compile("(input_blocks|middle_block|output_blocks)_.*");
  private static final Pattern CURRENT = Pattern.compile("(down_blocks|mid_block|up_blocks)[_.].*");

  /** Parts of names that only other methods have. */
  private static final Map<String, String> OTHERS = new LinkedHashMap<>();

  static {
    OTHERS.put("hada_w", "this is a LoHa");
    OTHERS.put("lokr_w", "this is a LoKr");
    OTHERS.put("dora_scale", "this is a DoRA");
    OTHERS.put("lora_magnitude_vector", "this is a DoRA");
    OTHERS.put("lora_mid", "these convolutions are CP-decomposed");
    OTHERS.put("oft_", "this is an OFT");
    OTHERS.put("vera_lambda", "this is a VeRA");
    OTHERS.put("ia3_", "this is an IA3");
    OTHERS.put(".on_input", "this is an IA3");
    OTHERS.put(".a1.weight", "this is a GLoRA");
    OTHERS.put("lora_embedding_", "embeddings are not adapted here");
    OTHERS.put(".bias", "biases are not adapted here");
    OTHERS.put(".diff", "these are whole differences of weights");
    OTHERS.put("bundle_emb", "it brings textual inversions, which are files of their own here");
  }

  private final Path file;
  private final NamedTensors source;
  private final Map<String, @Nullable LoraConfig> configs = new LinkedHashMap<>();
  private final List<String> notes = new ArrayList<>();

  /** The tensors of one layer. */
  private static final class Factors {
    @Nullable String down;
    @Nullable String up;
    @Nullable String alpha;
  }

  private LoraReader(Path file, NamedTensors source) {
    this.file = file;
    this.source = source;
  }

  /**
   * What was found; whoever takes it owns the tensors of the layers.
   *
   * @param scheduler config that it is to be sampled with; null where it names none
   * @param notes on what was ignored
   */
  record Content(
      Path file,
      List<LoraLayer> layers,
      Map<String, String> metadata,
      @Nullable ObjectNode scheduler,
      List<String> notes) {}

  /** As {@link LoraFile#read} promises. */
  static Content read(Path path) throws IOException {
    Path file =
        Files.isDirectory(path)
            ? WeightFiles.find(path, "adapter_model", "pytorch_lora_weights")
            : path;
    try (NamedTensors source = WeightFiles.open(file);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      LoraReader reader = new LoraReader(file, source);
      List<LoraLayer> layers = reader.layers();
      String scheduler = source.metadata().get(SCHEDULER);
      String where = file + ": " + SCHEDULER + " in its header";
      ObjectNode config =
          scheduler == null ? null : SchedulerConfig.checked(where, Json.object(where, scheduler));
      for (LoraLayer layer : layers) { // nothing can fail any more
        scope.release(layer.down());
        scope.release(layer.up());
      }
      return new Content(file, layers, source.metadata(), config, reader.notes);
    }
  }

  private List<LoraLayer> layers() throws IOException {
    Map<Name, Factors> found = collect();
    dropDoubles(found);
    readConfigs(found);
    List<LoraLayer> layers = new ArrayList<>();
    for (var entry : found.entrySet()) {
      layers.add(layer(entry.getKey(), entry.getValue()));
    }
    tellUnusedAlpha(found);
    return layers;
  }

  // ---------------------------------------------------------------- names

  private Map<Name, Factors> collect() throws FormatException {
    Map<Name, Factors> found = new LinkedHashMap<>();
    List<String> others = new ArrayList<>();
    for (String tensor : source.entries().keySet()) {
      Name name = LoraNames.parse(tensor);
      if (name == null) {
        others.add(tensor);
        continue;
      }
      Name layer = new Name(name.part(), name.module(), Role.DOWN);
      Factors factors = found.computeIfAbsent(layer, unused -> new Factors());
      switch (name.role()) {
        case DOWN -> factors.down = once(layer, factors.down, tensor);
        case UP -> factors.up = once(layer, factors.up, tensor);
        case ALPHA -> factors.alpha = once(layer, factors.alpha, tensor);
      }
    }
    if (!others.isEmpty() || found.isEmpty()) {
      throw new FormatException(
          "%s is no LoRA, or of a kind that is not built: %s"
              .formatted(
                  file,
                  others.isEmpty()
                      ? "it holds no tensors"
                      : "it holds " + LoraNames.list(others) + explain(others)));
    }
    return found;
  }

  private String once(Name layer, @Nullable String before, String tensor) throws FormatException {
    if (before != null) {
      throw bad(layer, "is there twice, as %s and %s".formatted(before, tensor));
    }
    return tensor;
  }

  private static String explain(List<String> names) {
    String all = String.join(" ", names);
    return OTHERS.entrySet().stream()
        .filter(other -> all.contains(other.getKey()))
        .findFirst()
        .map(other -> "; " + other.getValue())
        .orElse("");
  }

  /** Files with both names of a layer mean the current ones, as diffusers takes them. */
  private void dropDoubles(Map<Name, Factors> found) {
    boolean current = found.keySet().stream().anyMatch(name -> isUnets(name, CURRENT));
    if (current && found.keySet().removeIf(name -> isUnets(name, ORIGINAL))) {
      notes.add("layers under names of SDXL's original code are left out, as there are others too");
    }
  }

  private static boolean isUnets(Name name, Pattern pattern) {
    return name.part().equals(LoraNames.UNET) && pattern.matcher(name.module()).matches();
  }

  // ---------------------------------------------------------------- strength

  /** Of every part the config that holds for it. */
  private void readConfigs(Map<Name, Factors> found) throws IOException {
    String header = source.metadata().get(HEADER);
    Path beside = file.resolveSibling(BESIDE);
    if (header != null) {
      String where = file + ": " + HEADER + " in its header";
      ObjectNode json = Json.object(where, header);
      for (Name name : found.keySet()) {
        if (!configs.containsKey(name.part())) {
          ObjectNode own = LoraConfig.part(json, name.part());
          configs.put(name.part(), own == null ? null : new LoraConfig(where, own));
        }
      }
    } else if (Files.isRegularFile(beside)) {
      LoraConfig config = new LoraConfig(beside.toString(), Json.readObject(beside));
      if (isOf(config, found)) {
        found.keySet().forEach(name -> configs.put(name.part(), config));
      } else {
        notes.add(BESIDE + " beside it is not used: it is of another file");
      }
    }
    configs.values().stream()
        .filter(config -> config != null && config.isTransposed())
        .findFirst()
        .ifPresent(config -> notes.add("fan_in_fan_out is not used: no layer here is transposed"));
  }

  /** Folders may hold several LoRAs; peft gives the file of its config always one name. */
  private boolean isOf(LoraConfig config, Map<Name, Factors> found) throws FormatException {
    if (String.valueOf(file.getFileName()).startsWith("adapter_model")) {
      return true;
    }
    for (var entry : found.entrySet()) {
      String down = entry.getValue().down;
      boolean kohya = down != null && down.startsWith("lora_");
      long rank = down == null || kohya ? -1 : source.entry(down).shape()[0];
      if (config.rank(entry.getKey().module()) != rank) {
        return false;
      }
    }
    return true;
  }

  private double alpha(Name layer, Factors factors, long rank) throws IOException {
    if (factors.alpha != null) {
      double alpha = value(layer, factors.alpha);
      if (alpha == 0) {
        notes.add("layer " + layer.module() + " does nothing, its alpha is 0");
      }
      return alpha;
    }
    LoraConfig config = configs.get(layer.part());
    if (config == null) {
      return rank;
    }
    if (config.rank(layer.module()) != rank) {
      throw bad(
          layer,
          "has factors of rank %d, but %s says %s"
              .formatted(rank, config, config.rank(layer.module())));
    }
    return config.alpha(layer.module());
  }

  /** Kohya's scripts write it down and do not read it. */
  private void tellUnusedAlpha(Map<Name, Factors> found) {
    Map<String, String> header = source.metadata();
    String alpha = header.getOrDefault("ss_network_alpha", "");
    boolean said = !alpha.isEmpty() && !alpha.equals(header.get("ss_network_dim"));
    if (said && configs.isEmpty() && found.values().stream().allMatch(f -> f.alpha == null)) {
      notes.add(
          "ss_network_alpha %s of its header is not used, as kohya's scripts do not: its layers have no alpha, so it is their rank"
              .formatted(alpha));
    }
  }

  // ---------------------------------------------------------------- values

  private LoraLayer layer(Name name, Factors factors) throws IOException {
    if (factors.down == null || factors.up == null) {
      throw bad(
          name,
          "has no %s factor; the file is incomplete"
              .formatted(factors.down == null ? "down" : "up"));
    }
    Tensor down = factor(name, factors.down);
    Tensor up = factor(name, factors.up);
    if (up.size(1) != down.size(0) || down.numel() == 0 || up.numel() == 0) {
      throw bad(
          name,
          "has factors %s and %s; expected [rank, in, ...] and [out, rank, ...]"
              .formatted(down, up));
    }
    double alpha = alpha(name, factors, down.size(0));
    return new LoraLayer(name.part(), name.module(), down, up, alpha);
  }

  /** A matrix, or the kernels of a convolution. */
  private Tensor factor(Name layer, String tensor) throws IOException {
    NamedTensors.Entry entry = source.entry(tensor);
    int dimensions = entry.shape().length;
    if (!entry.dtype().isFloating() || dimensions != 2 && dimensions != 4) {
      throw bad(
          layer,
          "has a factor %s%s; expected two dimensions, or four of a convolution, of a floating type"
              .formatted(entry.dtype(), Arrays.toString(entry.shape())));
    }
    Tensor value = source.read(tensor);
    if (!value.isFinite()) {
      throw bad(
          layer, "holds NaN or infinite values (%s); its training diverged".formatted(tensor));
    }
    return value;
  }

  private double value(Name layer, String tensor) throws IOException {
    NamedTensors.Entry entry = source.entry(tensor);
    if (entry.numel() != 1) {
      throw bad(layer, "has an alpha of shape %s".formatted(Arrays.toString(entry.shape())));
    }
    try (Scope scope = Scope.open()) {
      double value = source.read(tensor, DType.F64).item();
      if (!Double.isFinite(value)) {
        throw bad(layer, "has an alpha of " + value);
      }
      return value;
    }
  }

  private FormatException bad(Name layer, String problem) {
    return new FormatException(
        "%s: layer %s of %s %s".formatted(file, layer.module(), layer.part(), problem));
  }
}
