package org.perflow.cli;

import java.awt.image.BufferedImage;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Guidance;
import org.perflow.hub.Hub;
import org.perflow.io.Images;
import org.perflow.models.ControlNetModel;
import org.perflow.models.DiffusionModel;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.tensor.DType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code perflow refine}. */
@Command(
    name = "refine",
    description =
        "Draws a picture in few steps, enlarges it and draws its details anew, guided by a"
            + " ControlNet of the \"tile\" kind.",
    footer = {
      "",
      "Examples:",
      "  perflow refine --model sd15-perflow --controlnet control-tile --prompt \"a red apple\"",
      "  perflow refine --model sd15-perflow --controlnet control-tile --prompt \"a red apple\" \\",
      "      --image apple.png --factor 2 --out large.png"
    })
final class RefineCommand extends Verb {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "MODEL",
      description = "Diffusers folder of a PeRFlow student, or its name on the hub.")
  String model;

  @Option(
      names = "--controlnet",
      required = true,
      paramLabel = "MODEL",
      description = "Folder of a tile ControlNet of the model's family, or its name on the hub.")
  String controlNet;

  @Option(
      names = "--prompt",
      required = true,
      paramLabel = "TEXT",
      description = "What is to be seen.")
  String prompt;

  @Option(
      names = "--negative-prompt",
      paramLabel = "TEXT",
      description = "What to steer away from.")
  @Nullable String negativePrompt;

  @Option(
      names = "--image",
      paramLabel = "FILE",
      description = "Picture to refine (default: one is drawn first, in as many steps).")
  @Nullable Path image;

  @Option(
      names = "--factor",
      defaultValue = "2",
      paramLabel = "N",
      description = "How many times as wide and high (default: ${DEFAULT-VALUE}).")
  int factor;

  @Option(
      names = "--strength",
      defaultValue = "1",
      paramLabel = "X",
      description = "Part of the steps that is drawn anew (default: ${DEFAULT-VALUE}).")
  double strength;

  @Option(
      names = "--steps",
      paramLabel = "N",
      description = "Sampling steps (default: one a window of a PeRFlow model, 50 of others).")
  @Nullable Integer steps;

  @Option(
      names = "--guidance",
      paramLabel = "W",
      description =
          "Classifier-free guidance, as for generate (default: what the model was made for, else "
              + Guidance.DEFAULT
              + ").")
  @Nullable String guidance;

  @Option(
      names = "--seed",
      defaultValue = "0",
      paramLabel = "N",
      description = "Seed of both pictures (default: ${DEFAULT-VALUE}).")
  long seed;

  @Option(
      names = "--out",
      defaultValue = "refined.png",
      paramLabel = "PNG",
      description = "File to write (default: ${DEFAULT-VALUE}).")
  Path out;

  /** What was done. */
  record Summary(String file, int width, int height, int steps, double seconds) {}

  @Override
  void run() throws Exception {
    if (factor < 1 || factor > 8 || !(strength > 0 && strength <= 1)) {
      throw new IllegalArgumentException(
          "--factor is %d and --strength %s, expected 1 to 8, and above 0 to 1"
              .formatted(factor, strength));
    }
    BufferedImage given = image == null ? null : Images.read(image);
    Request asked = settings(Request.of(prompt));
    Path net = fetch(controlNet);
    Path folder = fetch(model);
    long start = System.nanoTime();
    try (ControlNetModel tile = PictureOptions.loadNet(net, DType.F32);
        DiffusionModel loaded = DiffusionModel.load(folder, DType.F32)) {
      Pipeline pipe = new Pipeline(loaded);
      Request first = pipe.complete(asked);
      GenerateCommand.refuseCut(pipe, List.of(first), "shorten it");
      BufferedImage small = given == null ? pipe.draw(first) : given;
      Request refine = settings(Request.refine(prompt, small, factor, tile));
      BufferedImage large = pipe.draw(refine.withImage(refine.image(), strength));
      Images.writePng(out, large, text(first, folder, net));
      double seconds = (System.nanoTime() - start) / 1e9;
      report(
          new Summary(out.toString(), large.getWidth(), large.getHeight(), first.steps(), seconds),
          "%s (%d x %d, %d steps, %.2f s)"
              .formatted(out, large.getWidth(), large.getHeight(), first.steps(), seconds));
    }
  }

  private Request settings(Request request) {
    Request full = request.withNegativePrompt(negativePrompt).withSeed(seed);
    full = steps == null ? full : full.withSteps(steps);
    return guidance == null ? full : full.withGuidance(Guidance.parse(guidance));
  }

  private Map<String, String> text(Request drawn, Path folder, Path net) {
    Map<String, String> text = new LinkedHashMap<>();
    text.put("prompt", prompt);
    text.put("seed", Long.toString(seed));
    text.put("steps", Integer.toString(drawn.steps()));
    text.put("guidance", drawn.guidance().toString());
    text.put("refined", "%d times by %s".formatted(factor, Hub.nameOf(net)));
    text.put("model", Hub.nameOf(folder));
    text.put("software", Main.VERSION);
    return text;
  }
}
