package org.perflow.cli.options;

import org.perflow.tensor.Device;
import picocli.CommandLine.Option;

/** {@code --device} of verbs that compute. */
public final class DeviceOption {
  @Option(
      names = "--device",
      defaultValue = "auto",
      paramLabel = "NAME",
      description =
          "Where to compute: cpu, cuda, cuda:1 (the second GPU), mps, or auto for a CUDA GPU where"
              + " there is one (default: ${DEFAULT-VALUE}). docs/gpu.md says what GPUs take.")
  String device;

  /**
   * The device that was chosen, or found.
   *
   * @throws IllegalArgumentException naming what there is, or saying why it is not here
   */
  public Device chosen() {
    return Device.parse(device).settled();
  }
}
