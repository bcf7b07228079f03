package org.perflow.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.perflow.models.ModelConversion;
import org.perflow.tensor.DType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code perflow convert}. */
@Command(
    name = "convert",
    description =
        "Turns a diffusers folder into a single-file checkpoint, or the other way round: SD-1.x, SD-2.x,"
            + " SDXL. Without --dtype no bit of a weight changes.",
    footer = {
      "",
      "Examples:",
      "  perflow convert my-model my-model.safetensors",
      "  perflow convert v1-5-pruned-emaonly.ckpt sd15 --dtype fp16"
    })
final class ConvertCommand extends Verb {
  @Parameters(
      index = "0",
      paramLabel = "FROM",
      description =
          "A diffusers folder, or a .safetensors, .ckpt or .pt file, or its name on the hub.")
  String from;

  @Parameters(
      index = "1",
      paramLabel = "TO",
      description = "The file to write from a folder, or the folder to write from a file.")
  Path to;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description = "Type of the weights written (default: as they are).")
  @Nullable String dtype;

  private record Written(String from, String to) {}

  @Override
  void run() throws Exception {
    DType floats = dtype == null ? null : DType.parse(dtype);
    Path source = fetch(from);
    if (!Files.isDirectory(source)) {
      ModelConversion.toFolder(source, to, floats);
    } else if (to.toString().endsWith(".safetensors")) {
      ModelConversion.toSingleFile(source, to, floats);
    } else {
      throw new IllegalArgumentException(
          from + " is a folder and becomes a file: name one that ends in .safetensors, not " + to);
    }
    report(new Written(from, to.toString()), to.toString());
  }
}
