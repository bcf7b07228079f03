package org.perflow.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.delta.Delta;
import org.perflow.delta.DeltaFolder;
import org.perflow.delta.ModelCard;
import org.perflow.delta.Provenance;
import org.perflow.flow.Parameterization;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.DType;
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
      DeltaCommand.Unapply.class,
      DeltaCommand.Scale.class,
      DeltaCommand.Mean.class,
      DeltaCommand.Inspect.class,
      DeltaToLoraCommand.class,
      DeltaCommand.PublishCard.class
    },
    footer = {
      "",
      "Examples:",
      "  perflow delta extract --base models/emoji-64 --student runs/first/student --out d.safetensors",
      "  perflow delta apply --base my-finetune --delta d.safetensors --any-base --out my-fast-model",
      "  perflow delta to-lora d.safetensors --rank 64 --out accelerator.safetensors",
      "  perflow delta inspect d.safetensors",
      "  perflow delta publish-card runs/first --license creativeml-openrail-m"
    })
final class DeltaCommand implements Runnable {
  @Spec private CommandSpec spec;

  @Override
  public void run() {
    spec.commandLine().usage(spec.commandLine().getOut());
  }

  private record Written(String file) {}

  private static DType type(String name) {
    DType type = DType.parse(name);
    if (!type.isFloating()) {
      throw new IllegalArgumentException(
          "--dtype is " + name + ", expected float32, float16 or bfloat16");
    }
    return type;
  }

  /** {@code perflow delta extract}. */
  @Command(
      name = "extract",
      description =
          "Writes student - base, worked out in float32. Of two diffusers folders the delta also"
              + " knows how the student is sampled.",
      footer = {
        "",
        "Example:",
        "  perflow delta extract --base models/emoji-64 --student runs/first/student \\",
        "      --dtype float16 --out delta.safetensors"
      })
  static final class Extract extends Verb {
    @Option(
        names = "--base",
        required = true,
        paramLabel = "MODEL",
        description = "Teacher: a diffusers folder or a weights file of any kind.")
    String base;

    @Option(
        names = "--student",
        required = true,
        paramLabel = "MODEL",
        description = "Student: a diffusers folder or a weights file of any kind.")
    String student;

    @Option(
        names = "--dtype",
        defaultValue = "float32",
        paramLabel = "TYPE",
        description =
            "Type that the delta is stored in: float32, float16 or bfloat16 (default:"
                + " ${DEFAULT-VALUE}).")
    String dtype;

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "File to write.")
    Path out;

    @Override
    void run() throws Exception {
      DeltaFolder.extract(fetch(base), fetch(student), out, type(dtype));
      report(new Written(out.toString()), out.toString());
    }
  }

  /** What {@code apply} and {@code unapply} share. */
  abstract static class Adding extends Verb {
    @Option(
        names = "--delta",
        required = true,
        paramLabel = "FILE",
        description =
            "What delta extract wrote, or a published delta: a weights file or its folder.")
    String delta;

    @Option(
        names = "--scale",
        defaultValue = "1",
        paramLabel = "X",
        description = "Factor of the delta (default: ${DEFAULT-VALUE}).")
    double scale;

    @Option(
        names = "--skip",
        paramLabel = "NAME",
        description =
            "Beginning of names whose weights stay as they are, such as conv_in of an inpainting"
                + " model; may be given several times.")
    List<String> skip = new ArrayList<>();

    @Option(
        names = "--dtype",
        paramLabel = "TYPE",
        description = "Type of the weights written (default: as in the base).")
    @Nullable String dtype;

    final Delta.Options options(boolean anyBase) {
      return new Delta.Options(scale, dtype == null ? null : type(dtype), anyBase, skip);
    }
  }

  /** {@code perflow delta apply}. */
  @Command(
      name = "apply",
      description =
          "Writes base + delta: the U-Net's weights into a file, or, where OUT does not end in"
              + " .safetensors and the base is a diffusers folder, a whole folder with PeRFlow's"
              + " scheduler.",
      footer = {
        "",
        "Examples:",
        "  perflow delta apply --base my-finetune --delta delta.safetensors --any-base \\",
        "      --out my-fast-model",
        "  perflow delta apply --base dreamshaper --delta perflow-sd15-delta-weights \\",
        "      --parameterization diff_eps --out dreamshaper-perflow"
      })
  static final class Apply extends Adding {
    @Option(
        names = "--base",
        required = true,
        paramLabel = "MODEL",
        description = "Weights to add to: a diffusers folder or a weights file of any kind.")
    String base;

    @Option(
        names = "--any-base",
        description = "Also where the delta was taken against other weights.")
    boolean anyBase;

    @Option(
        names = "--parameterization",
        paramLabel = "NAME",
        description =
            "How the result is sampled, where the delta does not say: ddim_eps, diff_eps or"
                + " velocity.")
    @Nullable String parameterization;

    @Option(
        names = "--windows",
        defaultValue = "4",
        paramLabel = "K",
        description = "Time windows that go with --parameterization (default: ${DEFAULT-VALUE}).")
    int windows;

    @Option(
        names = "--out",
        required = true,
        paramLabel = "PATH",
        description = "File NAME.safetensors or folder to write.")
    Path out;

    @Override
    void run() throws Exception {
      Path folder = fetch(base);
      Path from = DeltaFolder.weights(folder);
      Path published = fetch(delta);
      Path change = DeltaFolder.weights(published);
      Map<String, String> about = Provenance.of(from, "apply", change, scale).asMetadata();
      if (out.toString().endsWith(".safetensors")) {
        Delta.apply(from, change, out, options(anyBase), about);
      } else if (!Files.isDirectory(folder)) {
        throw new IllegalArgumentException(
            "--out %s is a folder, which needs a diffusers folder as --base; got the file %s: perflow convert makes a folder of it"
                .formatted(out, base));
      } else {
        var kind = parameterization == null ? null : Parameterization.parse(parameterization);
        var sampler = new DeltaFolder.Sampler(kind, windows);
        DeltaFolder.apply(folder, published, out, sampler, options(anyBase), about);
      }
      if (Delta.info(change).baseSha256().isEmpty()) {
        err().println("note: " + change + " does not say what it was taken against");
      }
      report(new Written(out.toString()), out.toString());
    }
  }

  /** {@code perflow delta unapply}. */
  @Command(
      name = "unapply",
      description = "Writes student - delta: the base again, but for rounding.",
      footer = {
        "",
        "Example:",
        "  perflow delta unapply --student runs/first/student --delta delta.safetensors \\",
        "      --out teacher.safetensors"
      })
  static final class Unapply extends Adding {
    @Option(
        names = "--student",
        required = true,
        paramLabel = "MODEL",
        description = "Weights to take it from: a diffusers folder or a weights file of any kind.")
    String student;

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "File to write.")
    Path out;

    @Override
    void run() throws Exception {
      Path from = DeltaFolder.weights(fetch(student));
      Path change = DeltaFolder.weights(fetch(delta));
      Map<String, String> about = Provenance.of(from, "unapply", change, scale).asMetadata();
      Delta.unapply(from, change, out, options(true), about);
      report(new Written(out.toString()), out.toString());
    }
  }

  /** {@code perflow delta scale}. */
  @Command(
      name = "scale",
      description = "Writes a delta times a factor.",
      footer = {"", "Example:", "  perflow delta scale d.safetensors --by 0.7 --out e.safetensors"})
  static final class Scale extends Verb {
    @Parameters(paramLabel = "DELTA", description = "What delta extract wrote, or its folder.")
    String delta;

    @Option(names = "--by", required = true, paramLabel = "X", description = "The factor.")
    double factor;

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "File to write.")
    Path out;

    @Override
    void run() throws Exception {
      Delta.scale(DeltaFolder.weights(fetch(delta)), factor, out);
      report(new Written(out.toString()), out.toString());
    }
  }

  /** {@code perflow delta mean}. */
  @Command(
      name = "mean",
      description =
          "Writes the mean of deltas of one base. That of two trainings from one start, which differ"
              + " in their --seed, draws nearer to the teacher than either.",
      footer = {
        "",
        "Examples:",
        "  perflow delta mean runs/1/student/delta.safetensors runs/2/student/delta.safetensors \\",
        "      --out mean.safetensors",
        "  perflow delta apply --base models/emoji-64 --delta mean.safetensors --out mean"
      })
  static final class Mean extends Verb {
    @Parameters(
        paramLabel = "DELTA",
        arity = "2..*",
        description = "What delta extract wrote, or its folder; two or more.")
    List<String> deltas;

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "File to write.")
    Path out;

    @Override
    void run() throws Exception {
      List<Path> files = new ArrayList<>();
      for (String delta : deltas) {
        files.add(DeltaFolder.weights(fetch(delta)));
      }
      Delta.mean(files, out);
      report(new Written(out.toString()), out.toString());
    }
  }

  /** {@code perflow delta inspect}. */
  @Command(
      name = "inspect",
      description =
          "Says what a delta fits, how its model is sampled, and how much each weight changes.",
      footer = {"", "Example:", "  perflow delta inspect runs/first/student/delta.safetensors"})
  static final class Inspect extends Verb {
    @Parameters(paramLabel = "FILE", description = "What delta extract wrote, or its folder.")
    String delta;

    private record Inspection(Delta.Info about, double norm, List<Delta.Layer> layers) {}

    @Override
    void run() throws Exception {
      Path file = DeltaFolder.weights(fetch(delta));
      Delta.Info info = Delta.info(file);
      List<Delta.Layer> layers = Delta.inspect(file);
      double norm = Delta.norm(layers);
      StringBuilder text = new StringBuilder();
      text.append("for        %s (shapes %.12s)%n".formatted(info.family(), info.architecture()));
      text.append("base       %s%n".formatted(unknown(info.baseSha256())));
      text.append("sampler    %s%n".formatted(sampler(info)));
      text.append(
          "content    %,d weights as %s, norm %.4g%n"
              .formatted(info.parameters(), info.type().torchName(), norm));
      text.append("%n%10s %10s  weight".formatted("norm", "largest"));
      for (Delta.Layer layer : layers) {
        text.append("%n%10.4g %10.4g  %s".formatted(layer.norm(), layer.largest(), layer.name()));
      }
      report(new Inspection(info, norm, layers), text.toString());
    }

    private static String sampler(Delta.Info info) {
      ObjectNode scheduler = info.scheduler();
      if (scheduler == null) {
        return unknown("");
      }
      String type = scheduler.path("_class_name").asText();
      if (!type.equals(SchedulerConfig.PERFLOW)) { // of two models that are not accelerated
        return "%s, of a teacher that predicts %s".formatted(type, unknown(info.basePrediction()));
      }
      String guidance = scheduler.path("recommended_guidance_scale").asText();
      return "%s, %s windows%s, of a teacher that predicts %s"
          .formatted(
              scheduler.path("prediction_type").asText(),
              scheduler.path("num_time_windows").asText(),
              guidance.isEmpty() ? "" : ", guidance " + guidance,
              unknown(info.basePrediction()));
    }

    private static String unknown(String text) {
      return text.isEmpty() ? "not said" : text;
    }
  }

  /** {@code perflow delta publish-card}. */
  @Command(
      name = "publish-card",
      description =
          "Writes the README.md that the hub shows of a student: licence, base model and tags as its"
              + " front matter, samples and figures of the run, how it is drawn with and how it was"
              + " made.",
      footer = {
        "",
        "Examples:",
        "  perflow delta publish-card runs/first --license creativeml-openrail-m",
        "  perflow delta publish-card runs/first --license openrail++ \\",
        "      --base-model stabilityai/stable-diffusion-xl-base-1.0 --title \"XL in four steps\""
      })
  static final class PublishCard extends Verb {
    @Parameters(paramLabel = "RUN", description = "Folder of a run, or a student's folder.")
    Path run;

    @Option(
        names = "--license",
        defaultValue = "other",
        paramLabel = "ID",
        description =
            "Licence as the hub calls it, one that the teacher's allows (default:"
                + " ${DEFAULT-VALUE}).")
    String license;

    @Option(
        names = "--base-model",
        paramLabel = "ORG/NAME",
        description = "The teacher on the hub (default: where the run took it from).")
    @Nullable String baseModel;

    @Option(
        names = "--title",
        paramLabel = "TEXT",
        description = "Title of the page (default: the run's name).")
    @Nullable String title;

    @Override
    void run() throws Exception {
      Path card = new ModelCard(run, license, baseModel, title).write();
      report(new Written(card.toString()), card.toString());
    }
  }
}
