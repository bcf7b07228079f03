package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import org.perflow.io.SafetensorsFile;
import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Module;

/** Reference tensors made with PyTorch, diffusers and transformers. */
final class Golden {
  static final Path ROOT = Path.of("src/test/resources/golden");
  static final Path SD15 = ROOT.resolve("models/sd15");

  private Golden() {}

  static Tensor read(String file, String name) {
    try (SafetensorsFile source = SafetensorsFile.open(ROOT.resolve(file))) {
      return source.read(name);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Within 1e-4 of the largest magnitude of the reference. */
  static void assertClose(Tensor actual, Tensor expected) {
    assertThat(actual.shape()).isEqualTo(expected.shape());
    assertThat(relativeError(actual, expected)).isLessThan(1e-4);
  }

  /** The same, printed, so that reports can quote it. */
  static void assertClose(String name, Tensor actual, Tensor expected) {
    assertThat(actual.shape()).as(name).isEqualTo(expected.shape());
    double error = relativeError(actual, expected);
    System.out.printf("golden %s: %.2e%n", name, error);
    assertThat(error).as(name).isLessThan(1e-4);
  }

  static double relativeError(Tensor actual, Tensor expected) {
    Tensor reference = expected.to(DType.F32);
    double error = actual.to(DType.F32).sub(reference).abs().max().item();
    return error / reference.abs().max().item();
  }

  /** Every weight of both, to the bit. */
  static void assertSameBits(Module actual, Module expected) {
    var theirs = expected.namedParameters();
    actual
        .namedParameters()
        .forEach(
            (name, parameter) ->
                assertThat(parameter.value().toFloatArray())
                    .as(name)
                    .containsExactly(theirs.get(name).value().toFloatArray()));
  }
}
