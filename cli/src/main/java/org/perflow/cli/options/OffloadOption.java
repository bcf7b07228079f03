package org.perflow.cli.options;

import java.io.PrintWriter;
import org.perflow.tensor.Device;
import picocli.CommandLine.Option;

/** {@code --offload} of verbs that draw. */
public final class OffloadOption {
  @Option(
      names = "--offload",
      description =
          "For a GPU that does not hold the whole model: keep it in the host's memory and copy text"
              + " encoders, U-Net and autoencoder to --device in turn, each for its share of a"
              + " drawing.")
  boolean offload;

  /** Whether it is asked for. */
  public boolean chosen() {
    return offload;
  }

  /** Where a model stays that draws on {@code device}. */
  public Device home(Device device, PrintWriter err) {
    if (offload && device.isCpu()) {
      err.println("note: --offload saves nothing where the CPU draws");
    }
    return offload ? Device.CPU : device;
  }
}
