package org.perflow.cli.options;

import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code --dtype} and {@code --device} of verbs that compute. */
public final class ComputeOption {
  @Option(
      names = "--dtype",
      defaultValue = "auto",
      paramLabel = "TYPE",
      description =
          "Type to compute with: float32, bfloat16, on a GPU float16, or auto for float32 or"
              + " bfloat16, whichever is faster here (default: ${DEFAULT-VALUE}).")
  String dtype;

  @Mixin DeviceOption where;

  /**
   * The device that was chosen, or found.
   *
   * @throws IllegalArgumentException naming what there is, or saying why it is not here
   */
  public Device device() {
    return where.chosen();
  }

  /**
   * What was chosen.
   *
   * @throws IllegalArgumentException naming what there is, also on that device
   */
  public Compute chosen() {
    Compute chosen = Compute.parse(dtype);
    return chosen == Compute.AUTO ? chosen : chosen.settled(device());
  }

  /** The type of {@link #chosen} on {@link #device}. */
  public DType type() {
    return chosen().dtype(device());
  }
}
