package org.perflow.io;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;

/** Moves the weights of a module from and to a safetensors file, by their published names. */
public final class Weights {
  private static final int LISTED = 20;

  private Weights() {}

  /**
   * Fills {@code module} from {@code file}, in any format that {@link WeightFiles#open} knows.
   *
   * @throws FormatException as {@link #load(Module, NamedTensors, DType)}
   */
  public static void load(Module module, Path file, DType as) throws IOException {
    try (NamedTensors source = WeightFiles.open(file)) {
      load(module, source, as);
    }
  }

  /**
   * Fills {@code module} from {@code source}, converted to {@code as} and moved to the module's
   * device tensor by tensor: it takes the memory of the module and of the largest tensor as stored.
   * The module owns the weights; old ones are freed. All names and shapes are compared first, so
   * weights that do not fit change nothing.
   *
   * @throws FormatException listing what is missing, unexpected or of another shape, and what the
   *     weights seem to be; or naming a weight that is not finite or cannot be read, after which
   *     the module has no weights
   */
  public static void load(Module module, NamedTensors source, DType as) throws IOException {
    Map<String, Parameter> parameters = module.namedParameters();
    compare(module, parameters, source);
    try {
      for (var entry : parameters.entrySet()) {
        try (Scope scope = Scope.open()) {
          Tensor value = source.read(entry.getKey(), as);
          checkFinite(source, entry.getKey(), value);
          Parameter parameter = entry.getValue();
          parameter.value(scope.release(parameter.placed(value)));
        }
      }
    } catch (IOException | RuntimeException e) {
      module.close(); // half of one model and half of another is none
      throw e;
    }
  }

  /** By the extremes, as both are NaN where any element is: no mask as large as the weight. */
  private static void checkFinite(NamedTensors source, String name, Tensor value)
      throws FormatException {
    if (value.numel() == 0) {
      return;
    }
    double least = value.min().item();
    double most = value.max().item();
    if (!Double.isFinite(least) || !Double.isFinite(most)) {
      throw new FormatException(
          "%s: weight '%s' holds %s values (%s); the file is damaged, comes from a training that diverged, or needs a type of wider range"
              .formatted(source, name, Double.isNaN(least) ? "NaN" : "infinite", value.dtype()));
    }
  }

  private static void compare(Module module, Map<String, Parameter> parameters, NamedTensors source)
      throws FormatException {
    Map<String, NamedTensors.Entry> entries = source.entries();
    List<String> missing = new ArrayList<>();
    List<String> shapes = new ArrayList<>();
    parameters.forEach(
        (name, parameter) -> {
          NamedTensors.Entry entry = entries.get(name);
          if (entry == null) {
            missing.add(name);
          } else if (!Arrays.equals(entry.shape(), parameter.shape())) {
            shapes.add(
                "%s: file %s, model %s"
                    .formatted(
                        name, Arrays.toString(entry.shape()), Arrays.toString(parameter.shape())));
          }
        });
    List<String> unexpected =
        entries.keySet().stream()
            .filter(name -> !parameters.containsKey(name) && !isHarmless(name))
            .toList();
    String problems =
        list("missing in the file", missing)
            + list("in the file but not in the model", unexpected)
            + list("of another shape", shapes);
    if (!problems.isEmpty()) {
      throw new FormatException(
          "%s does not fit %s; %s%s"
              .formatted(
                  source, module.getClass().getSimpleName(), guess(module, source), problems));
    }
  }

  /** What went wrong, most likely. */
  private static String guess(Module module, NamedTensors source) {
    String advice = "use the config.json that came with these weights";
    String got = WeightsKind.of(source).map(WeightsKind::label).orElse("");
    String wanted = WeightsKind.of(module).map(WeightsKind::label).orElse("");
    if (got.isEmpty() || got.equals(wanted)) {
      return advice;
    }
    return "the file holds: %s, the folder's config.json describes: %s; %s"
        .formatted(got, wanted.isEmpty() ? module.getClass().getSimpleName() : wanted, advice);
  }

  /** Old transformers releases saved the constant 0 ... L-1 beside the weights. */
  private static boolean isHarmless(String name) {
    return name.equals("position_ids") || name.endsWith(".position_ids");
  }

  private static String list(String kind, List<String> names) {
    if (names.isEmpty()) {
      return "";
    }
    StringBuilder text = new StringBuilder("\n  " + names.size() + " " + kind + ":");
    names.stream().limit(LISTED).forEach(name -> text.append("\n    ").append(name));
    if (names.size() > LISTED) {
      text.append("\n    ... and ").append(names.size() - LISTED).append(" more");
    }
    return text.toString();
  }

  /**
   * Writes the weights of {@code module} as {@code as}, atomically, marked {@code format=pt} as
   * transformers asks for, with {@code metadata} in the header. One at a time is read, worked out
   * where it is {@link Parameter#adapt adapted}, and converted.
   */
  public static void save(Module module, Path file, DType as, Map<String, String> metadata)
      throws IOException {
    Map<String, LazyTensor> tensors = new LinkedHashMap<>();
    module
        .namedParameters()
        .forEach(
            (name, parameter) ->
                tensors.put(
                    name, new LazyTensor(as, shape(parameter), () -> parameter.value().detach())));
    Map<String, String> marked = new TreeMap<>(metadata);
    marked.putIfAbsent("format", "pt");
    SafetensorsWriter.write(file, tensors, type -> type, marked);
  }

  /** As it is written: with tokens added, a table of embeddings is longer than the module's. */
  private static long[] shape(Parameter parameter) {
    try (Scope scope = Scope.open()) {
      return parameter.value().shape();
    }
  }
}
