package org.perflow.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.perflow.io.FormatException;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * What acceleration changed: student minus teacher, tensor by tensor in float32. It can be added to
 * the weights it was taken against (checked by hash), or to a fine-tuned relative of them.
 */
public final class Delta {
  static final String BASE = "base_sha256";

  private Delta() {}

  /** Size of the change of one weight. */
  @SuppressWarnings("ArrayRecordComponent") // printed, never compared
  public record Layer(String name, long[] shape, double norm, double largest) {}

  /** Writes student - base of two weight files with the same names and shapes. */
  public static void extract(Path base, Path student, Path delta) throws IOException {
    try (SafetensorsFile from = SafetensorsFile.open(base);
        SafetensorsFile to = SafetensorsFile.open(student);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      fits(base, from, student, to);
      Map<String, Tensor> difference = new LinkedHashMap<>();
      for (String name : from.entries().keySet()) {
        try (Scope each = Scope.open()) {
          difference.put(name, each.keep(to.read(name, DType.F32).sub(from.read(name, DType.F32))));
        }
      }
      SafetensorsWriter.write(
          delta,
          difference,
          Map.of("format", "pt", BASE, Fingerprint.of(base), "kind", "perflow-delta"));
    }
  }

  /**
   * Writes base + delta, as {@code type}.
   *
   * @param anyBase add to other weights of the same architecture than those it was taken against
   * @throws FormatException where names, shapes or the base do not fit, with nothing written
   */
  public static void apply(Path base, Path delta, Path student, DType type, boolean anyBase)
      throws IOException {
    try (SafetensorsFile from = SafetensorsFile.open(base);
        SafetensorsFile change = SafetensorsFile.open(delta);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      fits(base, from, delta, change);
      String wanted = change.metadata().getOrDefault(BASE, "");
      String got = Fingerprint.of(base);
      if (!anyBase && !wanted.equals(got)) {
        throw new FormatException(
            "%s was taken against weights of sha256 %s, %s has %s: name those weights, or allow any base"
                .formatted(delta, wanted.isEmpty() ? "unknown" : wanted, base, got));
      }
      Map<String, Tensor> sum = new LinkedHashMap<>();
      for (String name : from.entries().keySet()) {
        try (Scope each = Scope.open()) {
          Tensor value = from.read(name, DType.F32).add(change.read(name, DType.F32));
          Tensor stored = value.to(type);
          sum.put(name, each.keep(stored));
        }
      }
      SafetensorsWriter.write(student, sum, Map.of("format", "pt", BASE, got));
    }
  }

  /** Norm and largest element of every weight's change, in the order of the file. */
  public static List<Layer> inspect(Path delta) throws IOException {
    List<Layer> layers = new ArrayList<>();
    try (SafetensorsFile change = SafetensorsFile.open(delta);
        NoGrad guard = NoGrad.enter()) {
      for (SafetensorsFile.Entry entry : change.entries().values()) {
        try (Scope scope = Scope.open()) {
          Tensor value = change.read(entry.name(), DType.F32);
          layers.add(
              new Layer(
                  entry.name(), entry.shape(), value.norm().item(), value.abs().max().item()));
        }
      }
    }
    return layers;
  }

  private static void fits(Path one, SafetensorsFile a, Path two, SafetensorsFile b)
      throws FormatException {
    for (SafetensorsFile.Entry entry : a.entries().values()) {
      SafetensorsFile.Entry other = b.entries().get(entry.name());
      if (other == null || !Arrays.equals(other.shape(), entry.shape())) {
        throw new FormatException(
            "%s does not fit %s: %s is %s there and %s here; both must be of one architecture"
                .formatted(
                    two,
                    one,
                    entry.name(),
                    Arrays.toString(entry.shape()),
                    other == null ? "missing" : Arrays.toString(other.shape())));
      }
    }
    for (String name : b.entries().keySet()) {
      if (!a.entries().containsKey(name)) {
        throw new FormatException(
            two + " does not fit " + one + ": it has " + name + ", which is unknown there");
      }
    }
  }
}
