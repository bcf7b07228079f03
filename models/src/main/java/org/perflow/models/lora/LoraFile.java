package org.perflow.models.lora;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.perflow.io.FormatException;
import org.perflow.io.SafetensorsWriter;
import org.perflow.io.WeightsKind.Family;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * A LoRA as it is published: one file, in the names of kohya's scripts or of diffusers and peft, of
 * U-Net and text encoders, each layer as strong as it was trained. Owns its tensors until closed.
 * Immutable and thread-safe.
 */
public final class LoraFile implements AutoCloseable {
  /** Key of a LoRA's or delta's metadata for the scheduler config that it is to be sampled with. */
  public static final String SCHEDULER = LoraReader.SCHEDULER;

  /** How names are written. */
  public enum Format {
    /** {@code lora_unet_mid_block_..._to_q.lora_down.weight}, with a tensor alpha a layer. */
    KOHYA,
    /** {@code unet.mid_block....to_q.lora_A.weight}; written with α = r throughout. */
    PEFT
  }

  private final Path file;
  private final List<LoraLayer> layers;
  private final Map<String, String> metadata;
  private final @Nullable ObjectNode scheduler;
  private final List<String> notes;

  private LoraFile(LoraReader.Content content) {
    file = content.file();
    layers = List.copyOf(content.layers());
    metadata = Map.copyOf(content.metadata());
    scheduler = content.scheduler();
    notes = List.copyOf(content.notes());
  }

  // ---------------------------------------------------------------- reading

  /**
   * Reads {@code path}, names of either kind: a file, or a folder that peft or diffusers saved.
   *
   * @throws FormatException naming the file and, where it is one, the layer: tensors that are no
   *     part of a LoRA (LoHa, LoKr, DoRA and CP decompositions are other methods), layers of which
   *     one factor is missing or does not fit the other, values that are not finite, ranks that are
   *     not those of the config that came with it
   */
  public static LoraFile read(Path path) throws IOException {
    return new LoraFile(LoraReader.read(path));
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
   * Only newer releases of diffusers read α from the header, and they differ in what they take for
   * it where ranks differ: so α/r goes into the factors, and zeros make all ranks one.
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

  /** What of it is not used, in words for its user; empty where all is. */
  public List<String> notes() {
    return notes;
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

  /**
   * The scheduler config in its metadata, where it is an accelerator of this project; the caller's
   * own copy.
   */
  public @Nullable ObjectNode scheduler() {
    return scheduler == null ? null : scheduler.deepCopy();
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
