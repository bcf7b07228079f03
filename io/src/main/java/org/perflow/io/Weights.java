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
   * Fills {@code module} from {@code file}, converted to {@code as} tensor by tensor. The module
   * owns the weights; old ones are freed. All names and shapes are compared first, so a file that
   * does not fit changes nothing.
   *
   * @throws FormatException listing what is missing, unexpected or of another shape
   */
  public static void load(Module module, Path file, DType as) throws IOException {
    Map<String, Parameter> parameters = module.namedParameters();
    try (SafetensorsFile source = SafetensorsFile.open(file)) {
      compare(module, parameters, source.entries(), file);
      for (var entry : parameters.entrySet()) {
        try (Scope scope = Scope.open()) {
          Tensor value = source.read(entry.getKey(), as);
          entry.getValue().value(scope.release(value));
        }
      }
    }
  }

  private static void compare(
      Module module,
      Map<String, Parameter> parameters,
      Map<String, SafetensorsFile.Entry> entries,
      Path file)
      throws FormatException {
    List<String> missing = new ArrayList<>();
    List<String> shapes = new ArrayList<>();
    parameters.forEach(
        (name, parameter) -> {
          SafetensorsFile.Entry entry = entries.get(name);
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
          "%s does not fit %s; use the config.json that came with these weights%s"
              .formatted(file, module.getClass().getSimpleName(), problems));
    }
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
   * transformers asks for, with {@code metadata} in the header.
   */
  public static void save(Module module, Path file, DType as, Map<String, String> metadata)
      throws IOException {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    module.namedParameters().forEach((name, parameter) -> tensors.put(name, parameter.value()));
    Map<String, String> marked = new TreeMap<>(metadata);
    marked.putIfAbsent("format", "pt");
    SafetensorsWriter.write(file, tensors, as, marked);
  }
}
