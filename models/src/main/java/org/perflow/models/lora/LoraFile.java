package org.perflow.models.lora;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.perflow.io.FormatException;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.io.WeightsKind.Family;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * A LoRA as it is published: one safetensors file, in the names of kohya's scripts or of diffusers
 * and peft, of U-Net and text encoders. Owns its tensors until closed. Immutable and thread-safe.
 */
public final class LoraFile implements AutoCloseable {
  /** Key of a LoRA's or delta's metadata for the scheduler config that it is to be sampled with. */
  public static final String SCHEDULER = "perflow_scheduler_config";

  private static final int LISTED = 20;

  /** How names are written. */
  public enum Format {
    /** {@code lora_unet_mid_block_..._to_q.lora_down.weight}, with a tensor alpha a layer. */
    KOHYA,
    /** {@code unet.mid_block....to_q.lora_A.weight}; α = r throughout, as diffusers takes it. */
    PEFT
  }

  private final Path file;
  private final List<LoraLayer> layers;
  private final Map<String, String> metadata;

  private LoraFile(Path file, List<LoraLayer> layers, Map<String, String> metadata) {
    this.file = file;
    this.layers = List.copyOf(layers);
    this.metadata = Map.copyOf(metadata);
  }

  // ---------------------------------------------------------------- reading

  private static final class Factors {
    @Nullable String down;
    @Nullable String up;
    @Nullable String alpha;
  }

  /**
   * Reads {@code file}, names of either kind.
   *
   * @throws FormatException listing tensors that are no part of a LoRA (LoHa, LoKr, DoRA and CP
   *     decompositions are other methods), or layers of which one factor is missing
   */
  public static LoraFile read(Path file) throws IOException {
    try (SafetensorsFile source = SafetensorsFile.open(file);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      List<LoraLayer> layers = new ArrayList<>();
      for (var entry : collect(file, source).entrySet()) {
        layers.add(layer(file, source, entry.getKey(), entry.getValue()));
      }
      for (LoraLayer layer : layers) { // nothing can fail any more
        scope.release(layer.down());
        scope.release(layer.up());
      }
      return new LoraFile(file, layers, source.metadata());
    }
  }

  private static Map<LoraNames.Name, Factors> collect(Path file, SafetensorsFile source)
      throws FormatException {
    Map<LoraNames.Name, Factors> found = new LinkedHashMap<>();
    List<String> others = new ArrayList<>();
    for (String tensor : source.entries().keySet()) {
      LoraNames.Name name = LoraNames.parse(tensor);
      if (name == null) {
        others.add(tensor);
        continue;
      }
      var layer = new LoraNames.Name(name.part(), name.module(), LoraNames.Role.DOWN);
      Factors factors = found.computeIfAbsent(layer, unused -> new Factors());
      switch (name.role()) {
        case DOWN -> factors.down = tensor;
        case UP -> factors.up = tensor;
        case ALPHA -> factors.alpha = tensor;
      }
    }
    if (!others.isEmpty() || found.isEmpty()) {
      throw new FormatException(
          "%s is no LoRA, or of a kind that is not built: %s"
              .formatted(
                  file,
                  others.isEmpty()
                      ? "it holds no tensors"
                      : "it holds " + list(others) + explain(others)));
    }
    return found;
  }

  private static String explain(List<String> names) {
    String all = String.join(" ", names);
    if (all.contains("hada_w")) {
      return "; this is a LoHa";
    } else if (all.contains("lokr_w")) {
      return "; this is a LoKr";
    } else if (all.contains("dora_scale") || all.contains("lora_magnitude_vector")) {
      return "; this is a DoRA";
    } else if (all.contains("lora_mid")) {
      return "; these convolutions are CP-decomposed";
    }
    return "";
  }

  private static LoraLayer layer(
      Path file, SafetensorsFile source, LoraNames.Name name, Factors factors) throws IOException {
    if (factors.down == null || factors.up == null) {
      throw new FormatException(
          "%s: layer %s has no %s factor; the file is incomplete"
              .formatted(file, name.module(), factors.down == null ? "down" : "up"));
    }
    Tensor down = source.read(factors.down);
    Tensor up = source.read(factors.up);
    if (down.dim() < 2 || up.dim() < 2 || up.size(1) != down.size(0)) {
      throw new FormatException(
          "%s: layer %s has factors %s and %s; expected [rank, in, ...] and [out, rank, ...]"
              .formatted(file, name.module(), down, up));
    }
    double alpha = down.size(0);
    if (factors.alpha != null) {
      try (Scope scope = Scope.open()) {
        alpha = source.read(factors.alpha, DType.F64).item();
      }
    }
    return new LoraLayer(name.part(), name.module(), down, up, alpha);
  }

  /** Up to twenty names. */
  static String list(Collection<String> names) {
    String text = String.join(", ", names.stream().limit(LISTED).toList());
    return names.size() <= LISTED ? text : text + " and " + (names.size() - LISTED) + " more";
  }

  // ---------------------------------------------------------------- writing

  /**
   * Writes layers of a U-Net under their published names.
   *
   * @param layers only read; their names must have dots, as those of made layers do
   */
  public static void write(
      Path file, List<LoraLayer> layers, Format format, DType type, Map<String, String> metadata)
      throws IOException {
    Map<String, String> header = new TreeMap<>(metadata);
    header.put("format", "pt");
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Map<String, Tensor> tensors = format == Format.KOHYA ? kohya(layers) : peft(layers);
      if (format == Format.KOHYA) {
        header.put("ss_network_module", "networks.lora");
        header.put("ss_network_dim", one(layers.stream().map(LoraLayer::rank).toList()));
        header.put("ss_network_alpha", one(layers.stream().map(LoraLayer::alpha).toList()));
      }
      SafetensorsWriter.write(file, tensors, type, header);
    }
  }

  /** The value that all have, or "Dynamic", as kohya's scripts say. */
  private static String one(List<? extends Number> values) {
    var distinct = new TreeSet<>(values.stream().map(String::valueOf).toList());
    return distinct.size() == 1 ? distinct.first() : "Dynamic";
  }

  private static Map<String, Tensor> kohya(List<LoraLayer> layers) {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (LoraLayer layer : layers) {
      String name = LoraNames.kohya(layer.module());
      tensors.put(name + ".lora_down.weight", layer.down());
      tensors.put(name + ".lora_up.weight", layer.up());
      tensors.put(name + ".alpha", Tensor.full(layer.alpha()));
    }
    return tensors;
  }

  /**
   * The files have no place for α, and releases of diffusers differ in what they take for it where
   * ranks differ: so α/r goes into the factors, and zeros make all ranks one.
   */
  private static Map<String, Tensor> peft(List<LoraLayer> layers) {
    long rank = layers.stream().mapToLong(LoraLayer::rank).max().orElse(1);
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (LoraLayer layer : layers) {
      String name = LoraNames.UNET + "." + layer.module();
      Tensor up = layer.up().mul(layer.scale());
      tensors.put(name + ".lora_A.weight", padded(layer.down(), 0, rank));
      tensors.put(name + ".lora_B.weight", padded(up, 1, rank));
    }
    return tensors;
  }

  private static Tensor padded(Tensor factor, int dim, long rank) {
    if (factor.size(dim) == rank) {
      return factor;
    }
    long[] shape = factor.shape();
    shape[dim] = rank - shape[dim];
    return Tensor.cat(dim, factor, Tensor.zeros(factor.dtype(), shape));
  }

  // ---------------------------------------------------------------- content

  /** Where it was read from. */
  public Path file() {
    return file;
  }

  /** All layers, in the order of the file; the tensors stay this object's. */
  public List<LoraLayer> layers() {
    return layers;
  }

  /** The free strings of its header. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** The family that it seems made for, by its names and its widths. */
  public String family() {
    if (layers.stream().anyMatch(layer -> layer.part().equals(LoraNames.TEXT_ENCODER_2))) {
      return "SDXL";
    }
    if (layers.stream().anyMatch(layer -> isTransformer(layer.module()))) {
      return "a diffusion transformer, such as SD-3 or Flux";
    }
    return layers.stream()
        .filter(layer -> LoraNames.flat(layer.module()).endsWith("attn2_to_k"))
        .map(layer -> layer.down().size(1))
        .findFirst()
        .map(LoraFile::byTextWidth)
        .orElse("an unknown family");
  }

  private static String byTextWidth(long width) {
    Family family = Family.ofTextWidth(width);
    return family == null ? "a U-Net of text width " + width : family.label();
  }

  private static boolean isTransformer(String module) {
    return module.matches(
        "(lora_)?transformer[._].*|.*(double_blocks|single_blocks|single_transformer_blocks"
            + "|joint_blocks|lora_te3_).*");
  }

  /** The scheduler config in its metadata, as JSON, where it is an accelerator of this project. */
  public @Nullable String scheduler() {
    return metadata.get(SCHEDULER);
  }

  @Override
  public void close() {
    for (LoraLayer layer : layers) {
      layer.down().close();
      layer.up().close();
    }
  }

  @Override
  public String toString() {
    return Objects.toString(file.getFileName()) + " (" + layers.size() + " layers)";
  }
}
