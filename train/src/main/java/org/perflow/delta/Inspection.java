package org.perflow.delta;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.NamedTensors;
import org.perflow.io.WeightFiles;
import org.perflow.io.WeightsKind;
import org.perflow.models.SingleFile;

/**
 * What a model folder or a weights file is, as far as it can be said without running anything.
 *
 * <pre>{@code
 * Inspection model = Inspection.of(Path.of("models/emoji-64"), 5);
 * String line = model.kind() + " of " + model.parameters() + " weights";
 * }</pre>
 *
 * @param path as it was given
 * @param kind family and sort
 * @param parameters of all components
 * @param scheduler the sampler's config; null where there is none
 * @param provenance where it comes from, in its own words; null where it says nothing
 * @param largest its largest tensors, the largest first
 * @param delta how much each weight changes; null where it is no delta
 */
public record Inspection(
    String path,
    String kind,
    long parameters,
    List<Component> components,
    @Nullable JsonNode scheduler,
    @Nullable JsonNode provenance,
    List<Largest> largest,
    @Nullable List<Delta.Layer> delta) {

  /** A network: what it seems to be, its parameters, and how many of its tensors have each type. */
  public record Component(String name, String kind, long parameters, Map<String, Integer> dtypes) {}

  /** A tensor of a component. */
  @SuppressWarnings("ArrayRecordComponent") // printed, never compared
  public record Largest(String component, String name, String dtype, long[] shape, long elements) {}

  /**
   * Looks at a diffusers folder, one of its parts, or a weights file of any kind.
   *
   * @param largest how many tensors to list
   * @throws NoSuchFileException where there is nothing
   * @throws FormatException where there are no weights that can be read
   */
  public static Inspection of(Path model, int largest) throws IOException {
    if (!Files.exists(model)) {
      throw new NoSuchFileException(model.toString(), null, "there is no such file or folder");
    }
    Looking looking = new Looking(model, largest);
    return Files.isDirectory(model) ? looking.folder() : looking.file();
  }

  /** What was seen so far. */
  private static final class Looking {
    private static final Set<String> FAMILIES = Set.of("SD1", "SD2", "SDXL"); // that are built

    private final Path model;
    private final int largest;
    private final List<Component> components = new ArrayList<>();
    private final List<Largest> tensors = new ArrayList<>();

    Looking(Path model, int largest) {
      this.model = model;
      this.largest = largest;
    }

    Inspection folder() throws IOException {
      Path index = model.resolve("model_index.json");
      String pipeline = "model";
      if (Files.exists(index)) {
        pipeline = Json.read(index).path("_class_name").asText(pipeline);
        try (Stream<Path> parts = Files.list(model)) {
          for (Path part : parts.sorted().toList()) {
            if (hasWeights(part)) {
              add(part);
            }
          }
        }
      } else {
        add(model);
      }
      if (components.isEmpty()) {
        throw new FormatException(
            model + " holds no weights; name a diffusers folder or a part of it");
      }
      Path scheduler = model.resolve("scheduler/scheduler_config.json");
      Path provenance = model.resolve("provenance.json");
      return contents(
          pipeline,
          Files.exists(scheduler) ? Json.read(scheduler) : null,
          Files.exists(provenance) ? Json.read(provenance) : null,
          null);
    }

    private static boolean hasWeights(Path part) throws IOException {
      if (!Files.exists(part.resolve("config.json"))) {
        return false;
      }
      try (Stream<Path> files = Files.list(part)) {
        return files.anyMatch(
            file -> file.toString().matches(".*\\.(safetensors|bin|index\\.json)"));
      }
    }

    private void add(Path part) throws IOException {
      Path weights = weights(part);
      try (NamedTensors opened = WeightFiles.open(weights)) {
        add(String.valueOf(part.getFileName()), opened);
      }
    }

    /** Of a network of diffusers, else of transformers. */
    private static Path weights(Path part) throws IOException {
      try {
        return WeightFiles.find(part, "diffusion_pytorch_model");
      } catch (FormatException absent) {
        return WeightFiles.find(part, "model");
      }
    }

    Inspection file() throws IOException {
      try (NamedTensors opened = WeightFiles.open(model)) {
        WeightsKind kind = WeightsKind.of(opened).orElse(null);
        JsonNode metadata = metadata(opened);
        boolean delta = "perflow-delta".equals(opened.metadata().get("kind"));
        if (kind != null && kind.family() != null && isBuilt(kind)) {
          try (SingleFile file = SingleFile.open(model)) {
            for (String component : file.components()) {
              add(component, file.weights(component));
            }
            return contents(kind.label(), file.schedulerConfig(), metadata, null);
          }
        }
        add(String.valueOf(model.getFileName()), opened);
        String label = kind == null ? "weights of an unknown kind" : kind.label();
        return contents(
            delta ? "delta of an " + label : label,
            null,
            metadata,
            delta ? Delta.inspect(model) : null);
      }
    }

    private static boolean isBuilt(WeightsKind kind) {
      return kind.part() == WeightsKind.Part.CHECKPOINT
          && FAMILIES.contains(String.valueOf(kind.family()));
    }

    /** The header's strings, those that are JSON as such. */
    private static @Nullable JsonNode metadata(NamedTensors opened) {
      var node = Json.MAPPER.createObjectNode();
      new TreeMap<>(opened.metadata())
          .forEach(
              (key, value) -> {
                if (!key.equals("perflow.files")) { // the configurations, shown as such
                  node.put(key, value);
                }
              });
      return node.isEmpty() ? null : node;
    }

    private void add(String name, NamedTensors weights) {
      long parameters = 0;
      Map<String, Integer> dtypes = new TreeMap<>();
      for (NamedTensors.Entry entry : weights.entries().values()) {
        parameters += entry.numel();
        dtypes.merge(entry.dtype().toString(), 1, Integer::sum);
        tensors.add(
            new Largest(
                name, entry.name(), entry.dtype().toString(), entry.shape(), entry.numel()));
      }
      String kind = WeightsKind.of(weights).map(WeightsKind::label).orElse("unknown");
      components.add(new Component(name, kind, parameters, dtypes));
    }

    private Inspection contents(
        String kind,
        @Nullable JsonNode scheduler,
        @Nullable JsonNode provenance,
        @Nullable List<Delta.Layer> delta) {
      tensors.sort(Comparator.comparingLong(Largest::elements).reversed());
      return new Inspection(
          model.toString(),
          kind,
          components.stream().mapToLong(Component::parameters).sum(),
          components,
          scheduler,
          provenance,
          tensors.stream().limit(largest).toList(),
          delta);
    }
  }
}
