package org.perflow.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.perflow.tensor.DType;
import org.perflow.train.Delta;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code perflow delta}: what acceleration changed, as a file of its own. */
@Command(
    name = "delta",
    mixinStandardHelpOptions = true,
    usageHelpWidth = 100,
    description =
        "Takes the change of an accelerated model (student - teacher) and adds it to other weights of"
            + " the same architecture, such as a fine-tuned teacher.",
    commandListHeading = "%nCommands:%n",
    subcommands = {
      DeltaCommand.Extract.class,
      DeltaCommand.Apply.class,
      DeltaCommand.Inspect.class
    },
    footer = {
      "",
      "Examples:",
      "  perflow delta extract --base models/emoji-64 --student runs/first/student --out d.safetensors",
      "  perflow delta apply --base models/emoji-64 --delta d.safetensors --out unet.safetensors",
      "  perflow delta inspect d.safetensors"
    })
final class DeltaCommand implements Runnable {
  @Spec private CommandSpec spec;

  @Override
  public void run() {
    spec.commandLine().usage(spec.commandLine().getOut());
  }

  /** The U-Net's weights of a diffusers folder; a file as it is. */
  private static Path weights(Path modelOrFile) {
    return Files.isDirectory(modelOrFile)
        ? modelOrFile.resolve("unet/diffusion_pytorch_model.safetensors")
        : modelOrFile;
  }

  private record Written(String file) {}

  /** {@code perflow delta extract}. */
  @Command(
      name = "extract",
      description = "Writes student - base in float32.",
      footer = {
        "",
        "Example:",
        "  perflow delta extract --base models/emoji-64 --student runs/first/student \\",
        "      --out delta.safetensors"
      })
  static final class Extract extends Verb {
    @Option(
        names = "--base",
        required = true,
        paramLabel = "MODEL",
        description = "Teacher: a diffusers folder or a safetensors file.")
    Path base;

    @Option(
        names = "--student",
        required = true,
        paramLabel = "MODEL",
        description = "Student: a diffusers folder or a safetensors file.")
    Path student;

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "File to write.")
    Path out;

    @Override
    void run() throws Exception {
      Delta.extract(weights(base), weights(student), out);
      report(new Written(out.toString()), out.toString());
    }
  }

  /** {@code perflow delta apply}. */
  @Command(
      name = "apply",
      description = "Writes base + delta.",
      footer = {
        "",
        "Example:",
        "  perflow delta apply --base my-finetune --delta delta.safetensors --any-base \\",
        "      --out unet.safetensors"
      })
  static final class Apply extends Verb {
    @Option(
        names = "--base",
        required = true,
        paramLabel = "MODEL",
        description = "Weights to add to: a diffusers folder or a safetensors file.")
    Path base;

    @Option(
        names = "--delta",
        required = true,
        paramLabel = "FILE",
        description = "What delta extract wrote.")
    Path delta;

    @Option(
        names = "--any-base",
        description = "Also where the delta was taken against other weights.")
    boolean anyBase;

    @Option(
        names = "--dtype",
        defaultValue = "float32",
        paramLabel = "TYPE",
        description = "Type of the weights written (default: ${DEFAULT-VALUE}).")
    String dtype;

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "File to write.")
    Path out;

    @Override
    void run() throws Exception {
      Delta.apply(weights(base), delta, out, DType.parse(dtype), anyBase);
      report(new Written(out.toString()), out.toString());
    }
  }

  /** {@code perflow delta inspect}. */
  @Command(
      name = "inspect",
      description = "Says how much each weight changes.",
      footer = {"", "Example:", "  perflow delta inspect runs/first/student/delta.safetensors"})
  static final class Inspect extends Verb {
    @Parameters(paramLabel = "FILE", description = "What delta extract wrote.")
    Path delta;

    @Override
    void run() throws Exception {
      List<Delta.Layer> layers = Delta.inspect(delta);
      StringBuilder text = new StringBuilder("%10s %10s  weight".formatted("norm", "largest"));
      for (Delta.Layer layer : layers) {
        text.append("%n%10.4g %10.4g  %s".formatted(layer.norm(), layer.largest(), layer.name()));
      }
      report(layers, text.toString());
    }
  }
}
