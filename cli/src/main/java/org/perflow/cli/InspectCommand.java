package org.perflow.cli;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.delta.Delta;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.NamedTensors;
import org.perflow.io.WeightFiles;
import org.perflow.io.WeightsKind;
import org.perflow.models.SingleFile;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code perflow inspect}. */
@Command(
    name = "inspect",
    description =
        "Says what a model folder or a weights file is: family, parameters, types, noise schedule,"
            + " provenance, largest tensors; of a delta also how much each weight changes.",
    footer = {
      "",
      "Examples:",
      "  perflow inspect models/emoji-64",
      "  perflow inspect v1-5-pruned-emaonly.safetensors --json"
    })
final class InspectCommand extends Verb {
  private static final Set<String> FAMILIES = Set.of("SD1", "SD2", "SDXL");

  @Parameters(
      paramLabel = "MODEL",
      description = "A diffusers folder, one of its parts, or a weights file of any kind.")
  Path model;

  @Option(
      names = "--largest",
      defaultValue = "5",
      paramLabel = "N",
      description = "Tensors to list, largest first (default: ${DEFAULT-VALUE}).")
  int largest;

  /** A network: what it seems to be, its parameters, and how many of its tensors have each type. */
  record Component(String name, String kind, long parameters, Map<String, Integer> dtypes) {}

  /** A tensor of a component. */
  @SuppressWarnings("ArrayRecordComponent") // printed, never compared
  record Largest(String component, String name, String dtype, long[] shape, long elements) {}

  /** What can be said without running anything; null where it does not apply. */
  record Contents(
      String path,
      String kind,
      long parameters,
      List<Component> components,
      @Nullable JsonNode scheduler,
      @Nullable JsonNode provenance,
      List<Largest> largest,
      @Nullable List<Delta.Layer> delta) {}

  private final List<Component> components = new ArrayList<>();
  private final List<Largest> tensors = new ArrayList<>();

  @Override
  void run() throws Exception {
    if (!Files.exists(model)) {
      throw new NoSuchFileException(model.toString(), null, "there is no such file or folder");
    }
    Contents contents = Files.isDirectory(model) ? folder() : file();
    report(contents, text(contents));
  }

  // ---------------------------------------------------------------- looking

  private Contents folder() throws IOException {
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
      return files.anyMatch(file -> file.toString().matches(".*\\.(safetensors|bin|index\\.json)"));
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

  private Contents file() throws IOException {
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
          new Largest(name, entry.name(), entry.dtype().toString(), entry.shape(), entry.numel()));
    }
    String kind = WeightsKind.of(weights).map(WeightsKind::label).orElse("unknown");
    components.add(new Component(name, kind, parameters, dtypes));
  }

  private Contents contents(
      String kind,
      @Nullable JsonNode scheduler,
      @Nullable JsonNode provenance,
      @Nullable List<Delta.Layer> delta) {
    tensors.sort(Comparator.comparingLong(Largest::elements).reversed());
    return new Contents(
        model.toString(),
        kind,
        components.stream().mapToLong(Component::parameters).sum(),
        components,
        scheduler,
        provenance,
        tensors.stream().limit(largest).toList(),
        delta);
  }

  // ---------------------------------------------------------------- showing

  private static String text(Contents contents) {
    StringBuilder text = new StringBuilder();
    text.append(
        "%s: %s, %,d parameters".formatted(contents.path, contents.kind, contents.parameters));
    for (Component part : contents.components) {
      text.append(
          "%n  %-16s %s, %,d parameters, %s"
              .formatted(part.name, part.kind, part.parameters, dtypes(part.dtypes)));
    }
    if (contents.scheduler != null) {
      text.append("%nschedule: %s".formatted(schedule(contents.scheduler)));
    }
    if (contents.provenance != null) {
      text.append("%nprovenance:".formatted());
      for (var property : contents.provenance.properties()) {
        text.append("%n  %-16s %s".formatted(property.getKey(), brief(property.getValue())));
      }
    }
    text.append("%nlargest tensors:".formatted());
    for (Largest tensor : contents.largest) {
      text.append(
          "%n  %,14d  %s%s  %s %s"
              .formatted(
                  tensor.elements,
                  tensor.dtype,
                  Arrays.toString(tensor.shape),
                  tensor.component,
                  tensor.name));
    }
    if (contents.delta != null) {
      text.append("%nchange of each weight:%n%12s %12s".formatted("norm", "largest"));
      for (Delta.Layer layer : contents.delta) {
        text.append("%n%12.4g %12.4g  %s".formatted(layer.norm(), layer.largest(), layer.name()));
      }
    }
    return text.toString();
  }

  private static String dtypes(Map<String, Integer> counts) {
    return counts.size() == 1 ? counts.keySet().iterator().next() : counts.toString();
  }

  private static String schedule(JsonNode config) {
    return "%s, betas %s %s to %s over %d steps, predicts %s, spacing %s%s"
        .formatted(
            config.path("_class_name").asText("unnamed"),
            config.path("beta_schedule").asText("linear"),
            config.path("beta_start").asText("0.0001"),
            config.path("beta_end").asText("0.02"),
            config.path("num_train_timesteps").asInt(1000),
            config.path("prediction_type").asText("epsilon"),
            config.path("timestep_spacing").asText("leading"),
            config.path("rescale_betas_zero_snr").asBoolean() ? ", zero terminal SNR" : "");
  }

  private static String brief(JsonNode value) {
    String text = value.isTextual() ? value.asText() : value.toString();
    return text.length() <= 120 ? text : text.substring(0, 117) + "...";
  }
}
