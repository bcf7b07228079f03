package org.perflow.models;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FormatException;
import org.perflow.io.Inside;
import org.perflow.io.Json;
import org.perflow.io.LazyTensor;
import org.perflow.io.NamedTensors;
import org.perflow.io.SafetensorsWriter;
import org.perflow.io.WeightFiles;
import org.perflow.io.WeightsKind;
import org.perflow.io.WeightsKind.Family;
import org.perflow.tensor.DType;

/**
 * Between a diffusers folder and a single-file checkpoint, in both directions, tensor by tensor: it
 * takes the memory of the largest one. Without another element type nothing is rounded, so there
 * and back gives the same bits.
 *
 * <pre>{@code
 * ModelConversion.toFolder(Path.of("published.safetensors"), Path.of("my-model"), null);
 * ModelConversion.toSingleFile(Path.of("my-model"), Path.of("half.safetensors"), DType.F16);
 * }</pre>
 */
public final class ModelConversion {
  private static final Map<String, String> WEIGHTS =
      Map.of(
          "unet", "diffusion_pytorch_model",
          "vae", "diffusion_pytorch_model",
          "text_encoder", "model",
          "text_encoder_2", "model");

  private static final Set<String> KEPT =
      Set.of(
          "unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler");
  private static final String INDEX = "model_index.json";

  private ModelConversion() {}

  /**
   * Writes the model of a diffusers folder into one safetensors file that other programs read; the
   * folder's JSON and text files go into its header, so that {@link #toFolder} can bring them back.
   *
   * @param floats element type of floating weights; null to keep theirs
   */
  public static void toSingleFile(Path folder, Path file, @Nullable DType floats)
      throws IOException {
    List<Closeable> opened = new ArrayList<>();
    try {
      Family family = family(folder);
      Map<String, LazyTensor> all = new LinkedHashMap<>();
      for (SingleFile.Part part : SingleFile.parts(family)) {
        Path component = folder.resolve(part.folder());
        JsonNode config = Json.readObject(component.resolve("config.json"));
        NamedTensors weights = WeightFiles.open(WeightFiles.find(component, name(part.folder())));
        opened.add(weights);
        NamedTensors current = part.folder().equals("vae") ? OldNames.vae(weights) : weights;
        Map<String, LazyTensor> tensors = new LinkedHashMap<>();
        for (String name : current.entries().keySet()) {
          if (!name.endsWith("position_ids")) { // a constant that old releases saved
            tensors.put(name, LazyTensor.of(current, name));
          }
        }
        convert(component, part, tensors, config)
            .forEach((name, tensor) -> all.put(part.prefix() + name, tensor));
      }
      SafetensorsWriter.write(file, all, stored(floats), metadata(folder));
    } finally {
      for (Closeable weights : opened) {
        weights.close();
      }
    }
  }

  private static Map<String, LazyTensor> convert(
      Path component, SingleFile.Part part, Map<String, LazyTensor> tensors, JsonNode config)
      throws FormatException {
    try {
      return part.conversion().toSingleFile(tensors, config);
    } catch (IllegalArgumentException e) {
      throw new FormatException(component + ": " + e.getMessage(), e);
    }
  }

  private static Family family(Path folder) throws IOException {
    if (!Files.exists(folder.resolve(INDEX))) {
      throw new FormatException(
          folder + " is no diffusers folder: it has no model_index.json beside unet/ and vae/");
    }
    Path unet = WeightFiles.find(folder.resolve("unet"), name("unet"));
    try (NamedTensors weights = WeightFiles.open(unet)) {
      WeightsKind kind = WeightsKind.of(weights).orElse(null);
      Family family = kind == null ? null : kind.family();
      if (family == null || family.compareTo(Family.SDXL) > 0) {
        throw new FormatException(
            unet + " is no U-Net of SD-1.x, SD-2.x or SDXL, which single files are written for");
      }
      return family;
    }
  }

  private static Map<String, String> metadata(Path folder) throws IOException {
    ObjectNode files = Json.MAPPER.createObjectNode();
    for (String component : Stream.concat(Stream.of(""), KEPT.stream().sorted()).toList()) {
      Path part = folder.resolve(component);
      for (Path path : Files.isDirectory(part) ? texts(part) : List.<Path>of()) {
        String name = folder.relativize(path).toString().replace('\\', '/');
        files.put(name, Json.text(Inside.of(folder, path))); // who gets the file can read it
      }
    }
    Optional<ObjectNode> shorter = withoutForeignParts(folder.resolve(INDEX));
    shorter.ifPresent(index -> files.put(INDEX, index.toPrettyString() + "\n"));
    for (String tokenizer : new String[] {"tokenizer", "tokenizer_2"}) {
      Path own = folder.resolve(tokenizer);
      if (Files.exists(own)) {
        for (String known : CLIPTokenizer.load(own).standardParts()) {
          files.remove(tokenizer + "/" + known);
        }
      }
    }
    return Map.of("format", "pt", FamilyConfigs.METADATA, files.toString());
  }

  private static List<Path> texts(Path part) throws IOException {
    try (Stream<Path> files = Files.list(part)) {
      return files
          .filter(Files::isRegularFile)
          .filter(file -> file.toString().matches(".*\\.(json|txt)"))
          .filter(file -> !file.toString().contains(".index."))
          .sorted()
          .toList();
    }
  }

  /** Single files hold no safety checker, for one; absent where the index has nothing such. */
  private static Optional<ObjectNode> withoutForeignParts(Path file) throws IOException {
    ObjectNode index = Json.readObject(file);
    boolean changed = false;
    for (var property : index.properties()) {
      boolean present = property.getValue().isArray() && property.getValue().hasNonNull(0);
      if (present && !KEPT.contains(property.getKey())) {
        property.setValue(Json.MAPPER.createArrayNode().addNull().addNull());
        changed = true;
      }
    }
    return changed ? Optional.of(index) : Optional.empty();
  }

  /**
   * Writes a single file as a diffusers folder; it appears all at once or not at all. An earlier
   * model of that name is replaced, other folders are refused.
   *
   * @param floats element type of floating weights; null to keep theirs
   */
  public static void toFolder(Path file, Path folder, @Nullable DType floats) throws IOException {
    Path target = folder.toAbsolutePath().normalize();
    DiffusionModel.refuseForeign(target);
    Path beside = target.resolveSibling("." + target.getFileName() + "." + UUID.randomUUID());
    try (SingleFile single = SingleFile.open(file)) {
      for (SingleFile.Part part : SingleFile.parts(single.family())) {
        NamedTensors weights = single.weights(part.folder());
        Map<String, LazyTensor> tensors = new LinkedHashMap<>();
        for (String name : weights.entries().keySet()) {
          tensors.put(name, LazyTensor.of(weights, name));
        }
        SafetensorsWriter.write(
            beside.resolve(part.folder()).resolve(name(part.folder()) + ".safetensors"),
            tensors,
            stored(floats),
            Map.of("format", "pt"));
      }
      for (var text : new TreeMap<>(single.files()).entrySet()) {
        Path path = Inside.path(beside, text.getKey(), file);
        byte[] bytes = text.getValue().getBytes(UTF_8);
        AtomicFiles.write(path, out -> out.write(bytes));
      }
      for (String tokenizer : new String[] {"tokenizer", "tokenizer_2"}) {
        if (!tokenizer.endsWith("_2") || single.family() == Family.SDXL) {
          single.tokenizer(tokenizer).save(beside.resolve(tokenizer));
        }
      }
      AtomicFiles.replaceDirectory(beside, target);
    } finally {
      AtomicFiles.deleteDirectory(beside);
    }
  }

  private static String name(String component) {
    return WEIGHTS.getOrDefault(component, "model");
  }

  private static UnaryOperator<DType> stored(@Nullable DType floats) {
    return type -> floats != null && type.isFloating() ? floats : type;
  }
}
