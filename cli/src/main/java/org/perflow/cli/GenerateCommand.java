package org.perflow.cli;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Schedulers;
import org.perflow.flow.TextToImage;
import org.perflow.io.Images;
import org.perflow.io.SafetensorsWriter;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code perflow generate}. */
@Command(
    name = "generate",
    description =
        "Draws pictures from captions. Several pictures are written one by one and as a grid; the"
            + " caption, the seed and all settings are in the text chunk of each PNG.",
    footer = {
      "",
      "Examples:",
      "  perflow generate --prompt \"red apple\"",
      "  perflow generate --prompt \"cat face\" --prompt rocket --count 4 --seed 7 --out cats.png",
      "  perflow generate --model models/emoji-64 --steps 50 --guidance 3 --prompt pizza"
    })
final class GenerateCommand extends Verb {
  @Option(
      names = "--model",
      paramLabel = "DIR",
      description = "Diffusers folder (default: the 4-step student that comes with perflow).")
  @Nullable Path model;

  @Option(
      names = "--prompt",
      required = true,
      paramLabel = "TEXT",
      description = "What to draw; may be given several times.")
  List<String> prompts;

  @Option(
      names = "--negative-prompt",
      defaultValue = "",
      paramLabel = "TEXT",
      description = "What to steer away from, where there is guidance.")
  String negativePrompt;

  @Option(
      names = "--steps",
      paramLabel = "N",
      description = "Sampling steps (default: one a window of a PeRFlow model, 50 of others).")
  @Nullable Integer steps;

  @Option(
      names = "--guidance",
      paramLabel = "W",
      description =
          "Classifier-free guidance; 1 is none (default: what the model was trained for, else 3).")
  @Nullable Double guidance;

  @Option(
      names = "--seed",
      defaultValue = "0",
      paramLabel = "N",
      description =
          "Seed of the first picture, the next one's is one more (default: ${DEFAULT-VALUE}).")
  long seed;

  @Option(
      names = "--count",
      defaultValue = "1",
      paramLabel = "N",
      description = "Pictures of each prompt (default: ${DEFAULT-VALUE}).")
  int count;

  @Option(
      names = "--width",
      paramLabel = "PIXELS",
      description = "Width (default: what the model was trained on).")
  @Nullable Integer width;

  @Option(
      names = "--height",
      paramLabel = "PIXELS",
      description = "Height (default: what the model was trained on).")
  @Nullable Integer height;

  @Option(
      names = "--scheduler",
      paramLabel = "NAME",
      description = "Sampler: ddim, unipc, euler-a, lcm, ... (default: the model's own).")
  @Nullable String scheduler;

  @Option(
      names = "--dtype",
      defaultValue = "float32",
      paramLabel = "TYPE",
      description = "Type to compute with: float32 or bfloat16 (default: ${DEFAULT-VALUE}).")
  String dtype;

  @Option(
      names = "--out",
      defaultValue = "picture.png",
      paramLabel = "PNG",
      description =
          "File to write; of several pictures it is the grid, and NAME-001.png and so on are the"
              + " single ones (default: ${DEFAULT-VALUE}).")
  Path out;

  @Option(
      names = "--save-latents",
      paramLabel = "FILE",
      description = "Write the latents there too, as safetensors.")
  @Nullable Path latents;

  @Option(
      names = "--batch",
      defaultValue = "16",
      paramLabel = "N",
      description =
          "Pictures drawn at a time; changes memory and speed, not the pictures (default:"
              + " ${DEFAULT-VALUE}).")
  int batch;

  /** What was done. */
  record Summary(
      List<String> files,
      List<Picture> pictures,
      String model,
      int steps,
      double guidance,
      int networkEvaluations,
      double seconds,
      List<String> warnings) {}

  /** One picture. */
  record Picture(String file, String prompt, long seed) {}

  @Override
  void run() throws Exception {
    if (count < 1) {
      throw new IllegalArgumentException("--count is " + count + ", expected 1 or more");
    }
    DType compute = DType.parse(dtype);
    if (compute != DType.F32 && compute != DType.BF16) {
      throw new IllegalArgumentException("--dtype is " + dtype + ", expected float32 or bfloat16");
    }
    Path folder = model == null ? Installation.student() : model;
    try (DiffusionModel loaded = Models.load(folder, DType.F32)) {
      DiffusionModel sampled =
          scheduler == null
              ? loaded
              : loaded.withScheduler(Schedulers.config(scheduler, loaded.schedulerConfig()));
      draw(folder, sampled, compute);
    }
  }

  private void draw(Path folder, DiffusionModel loaded, DType compute) throws IOException {
    int chosen = steps == null ? Models.defaultSteps(loaded) : steps;
    double scale = guidance == null ? Models.guidance(loaded) : guidance;
    List<TextToImage.Request> requests = new ArrayList<>();
    for (String prompt : prompts) {
      requests.addAll(
          new TextToImage.Request(
                  prompt,
                  negativePrompt,
                  chosen,
                  scale,
                  seed,
                  width == null ? 0 : width,
                  height == null ? 0 : height)
              .repeat(count));
    }
    long start = System.nanoTime();
    try (TextToImage.Result result =
        new TextToImage(loaded, compute)
            .generate(requests, batch, (done, total, latents) -> progress(done, total))) {
      double seconds = (System.nanoTime() - start) / 1e9;
      result.warnings().forEach(warning -> err().println("note: " + warning));
      Map<String, String> settings = settings(folder, loaded, chosen, scale);
      List<Picture> pictures = write(requests, result.pictures(), settings);
      List<String> files = new ArrayList<>(pictures.stream().map(Picture::file).toList());
      if (pictures.size() > 1) {
        settings.put("prompt", String.join(" | ", prompts));
        settings.put("seed", seed + " to " + (seed + count - 1));
        Images.writePng(out, Images.grid(result.pictures(), columns(pictures.size())), settings);
        files.add(0, out.toString());
      }
      if (latents != null) {
        SafetensorsWriter.write(latents, Map.of("latents", result.latents()), settings);
        files.add(latents.toString());
      }
      report(
          new Summary(
              files,
              pictures,
              folder.toString(),
              chosen,
              scale,
              result.networkEvaluations(),
              seconds,
              result.warnings()),
          "%s (%s, %d steps, %.2f s)"
              .formatted(
                  files.get(0),
                  pictures.size() == 1 ? "1 picture" : pictures.size() + " pictures",
                  chosen,
                  seconds));
    }
  }

  private void progress(int done, int total) {
    if (!json && System.console() != null && total > 8) {
      err().printf("\r%d of %d steps%s", done, total, done == total ? "\r" : "");
      err().flush();
    }
  }

  private List<Picture> write(
      List<TextToImage.Request> requests, List<BufferedImage> images, Map<String, String> settings)
      throws IOException {
    List<Picture> pictures = new ArrayList<>();
    for (int i = 0; i < images.size(); i++) {
      TextToImage.Request request = requests.get(i);
      Path file = images.size() == 1 ? out : numbered(i + 1);
      settings.put("prompt", request.prompt());
      settings.put("seed", Long.toString(request.seed()));
      Images.writePng(file, images.get(i), settings);
      pictures.add(new Picture(file.toString(), request.prompt(), request.seed()));
    }
    return pictures;
  }

  private Map<String, String> settings(
      Path folder, DiffusionModel loaded, int chosen, double scale) {
    Map<String, String> settings = new LinkedHashMap<>();
    settings.put("prompt", "");
    settings.put("negative_prompt", negativePrompt);
    settings.put("seed", "");
    settings.put("steps", Integer.toString(chosen));
    settings.put("guidance", Double.toString(scale));
    settings.put("scheduler", loaded.schedulerConfig().path("_class_name").asText());
    settings.put("dtype", DType.parse(dtype).torchName());
    settings.put("model", folder.toAbsolutePath().normalize().getFileName().toString());
    settings.put("software", Main.VERSION);
    return settings;
  }

  private int columns(int pictures) {
    return count > 1 && prompts.size() > 1
        ? Math.min(count, 16)
        : (int) Math.min(16, Math.ceil(Math.sqrt(pictures)));
  }

  /** {@code cats.png} to {@code cats-001.png}. */
  private Path numbered(int number) {
    String name = out.getFileName().toString();
    String stem =
        name.toLowerCase(Locale.ROOT).endsWith(".png")
            ? name.substring(0, name.length() - 4)
            : name;
    return out.resolveSibling("%s-%03d.png".formatted(stem, number));
  }
}
