package org.perflow.cli.options;

import org.perflow.tensor.Compute;
import picocli.CommandLine.Option;

/** {@code --dtype} of verbs that compute. */
public final class ComputeOption {
  @Option(
      names = "--dtype",
      defaultValue = "auto",
      paramLabel = "TYPE",
      description =
          "Type to compute with: float32, bfloat16, or auto for the faster one here (default:"
              + " ${DEFAULT-VALUE}).")
  String dtype;

  /**
   * What was chosen.
   *
   * @throws IllegalArgumentException naming what there is
   */
  public Compute chosen() {
    return Compute.parse(dtype);
  }
}
