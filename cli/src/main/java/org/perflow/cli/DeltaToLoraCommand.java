package org.perflow.cli;

import java.nio.file.Path;
import org.perflow.delta.DeltaFolder;
import org.perflow.delta.DeltaLora;
import org.perflow.models.lora.LoraFile;
import org.perflow.tensor.DType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code perflow delta to-lora}. */
@Command(
    name = "to-lora",
    description =
        "Writes the best approximation of a delta by a LoRA of some rank, for tools that only load"
            + " LoRAs, and says how much of the delta (its squared norm) that keeps.",
    footer = {
      "",
      "Examples:",
      "  perflow delta to-lora delta.safetensors --rank 64 --out accelerator.safetensors",
      "  perflow delta to-lora delta.safetensors --rank 64 --format peft \\",
      "      --out pytorch_lora_weights.safetensors"
    })
final class DeltaToLoraCommand extends Verb {
  @Parameters(paramLabel = "DELTA", description = "What delta extract wrote, or its folder.")
  String delta;

  @Option(
      names = "--rank",
      required = true,
      paramLabel = "R",
      description = "Rank of every layer's factors; small layers take no more than they have.")
  int rank;

  @Option(
      names = "--format",
      defaultValue = "kohya",
      paramLabel = "NAME",
      description =
          "Names of the weights: kohya (most tools) or peft (diffusers) (default:"
              + " ${DEFAULT-VALUE}).")
  LoraFile.Format format;

  @Option(
      names = "--dtype",
      defaultValue = "float16",
      paramLabel = "TYPE",
      description = "Type of the factors (default: ${DEFAULT-VALUE}).")
  String dtype;

  @Option(names = "--out", required = true, paramLabel = "FILE", description = "File to write.")
  Path out;

  private record Summary(String file, int rank, LoraFile.Format format, DeltaLora.Report energy) {}

  @Override
  void run() throws Exception {
    Path file = DeltaFolder.weights(fetch(delta));
    DeltaLora.Report energy = DeltaLora.write(file, rank, format, DType.parse(dtype), out);
    StringBuilder text = new StringBuilder("%8s %6s  layer".formatted("kept", "rank"));
    for (DeltaLora.Layer layer : energy.layers()) {
      text.append("%n%7.2f%% %6d  %s".formatted(100 * layer.kept(), layer.rank(), layer.name()));
    }
    text.append(
        "%n%s: keeps %.2f%% of the energy of %d layers, %.2f%% of the whole delta; %d biases and norms with %.2f%% of it cannot go along"
            .formatted(
                out,
                100 * energy.keptOfLayers(),
                energy.layers().size(),
                100 * energy.kept(),
                energy.notCarriedWeights(),
                100 * energy.notCarried()));
    report(new Summary(out.toString(), rank, format, energy), text.toString());
  }
}
