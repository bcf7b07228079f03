package org.perflow.cli;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.cli.options.ComputeOption;
import org.perflow.cli.options.OffloadOption;
import org.perflow.flow.Guidance;
import org.perflow.hub.Hub;
import org.perflow.io.Images;
import org.perflow.io.Installation;
import org.perflow.io.SafetensorsWriter;
import org.perflow.models.AppliedEmbeddings;
import org.perflow.models.AutoencoderTiny;
import org.perflow.models.ControlNetModel;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.models.lora.AppliedLoras;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.pipeline.StepListener;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Tensor;
import org.perflow.train.Progress;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code perflow generate}. */
@Command(
    name = "generate",
    description =
        "Draws pictures from captions, and from pictures, masks and ControlNets. Several pictures"
            + " are written one by one and as a grid; the"
            + " caption, the seed and all settings are in the text chunk of each PNG.",
    footer = {
      "",
      "Examples:",
      "  perflow generate --prompt \"red apple\"",
      "  perflow generate --prompt \"cat face\" --prompt rocket --count 4 --seed 7 --out cats.png",
      "  perflow generate --model my-model --lora style.safetensors:0.8 --prompt castle",
      "  perflow generate --model models/emoji-64 --steps 50 --guidance 3 --prompt pizza",
      "  perflow generate --prompt \"green pear\" --image apple.png --strength 0.75"
    })
final class GenerateCommand extends Verb {
  private static final int MOST_PICTURES = 100_000;

  @Option(
      names = "--model",
      paramLabel = "MODEL",
      description =
          "Diffusers folder or single-file checkpoint, or its name on the hub,"
              + " ORG/NAME[@REVISION][:PATH], from where it is fetched, as can be all models here"
              + " (default: the 4-step student that comes with perflow).")
  @Nullable String model;

  @Option(
      names = "--prompt",
      required = true,
      paramLabel = "TEXT",
      description = "What to draw; may be given several times.")
  List<String> prompts;

  @Option(
      names = "--negative-prompt",
      paramLabel = "TEXT",
      description =
          "What to steer away from, where there is guidance (default: the empty text; zeros for"
              + " models that say so, as XL does).")
  @Nullable String negativePrompt;

  @Option(
      names = "--long-prompts",
      description =
          "Read prompts of any length in pieces of 75 tokens, and weights: (red:1.2), (red),"
              + " [red].")
  boolean longPrompts;

  @Option(
      names = "--cut-prompts",
      description =
          "Draw without the end of a prompt that the model cannot read, as diffusers does; else"
              + " that is an error.")
  boolean cutPrompts;

  @Option(
      names = "--clip-skip",
      defaultValue = "0",
      paramLabel = "N",
      description = "Layers of the text encoder to leave out at its end (default: 0).")
  int clipSkip;

  @Mixin PictureOptions pictures;

  @Option(
      names = "--steps",
      paramLabel = "N",
      description = "Sampling steps (default: one a window of a PeRFlow model, 50 of others).")
  @Nullable Integer steps;

  @Option(
      names = "--guidance",
      paramLabel = "W",
      description =
          "Classifier-free guidance; 1 is none; several scales with dashes between, as 7.5-4-4-4,"
              + " are shared out over the steps (default: what the model was trained for, else "
              + Guidance.DEFAULT
              + ").")
  @Nullable String guidance;

  @Option(
      names = "--guidance-rescale",
      defaultValue = "0",
      paramLabel = "X",
      description =
          "How far the contrast that guidance adds is taken back, 0 to 1; 0.7 is usual for models"
              + " of zero terminal SNR (default: ${DEFAULT-VALUE}).")
  double guidanceRescale;

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
      description = "Width (default: that of --image, else what the model was trained on).")
  @Nullable Integer width;

  @Option(
      names = "--height",
      paramLabel = "PIXELS",
      description = "Height (default: that of --image, else what the model was trained on).")
  @Nullable Integer height;

  @Option(
      names = "--scheduler",
      paramLabel = "NAME",
      description = "Sampler: ddim, unipc, euler-a, lcm, ... (default: the model's own).")
  @Nullable String scheduler;

  @Option(
      names = "--lora",
      paramLabel = "FILE[:WEIGHT]",
      description =
          "LoRA of kohya's or diffusers' names to add to U-Net and text encoder, with its weight"
              + " (1 where none is given); may be given several times. A PeRFlow LoRA also sets the"
              + " scheduler, where none is chosen.")
  List<String> loras = new ArrayList<>();

  @Option(
      names = "--embedding",
      paramLabel = "[NAME=]FILE",
      description =
          "Textual inversion of diffusers or AUTOMATIC1111, and the placeholder that prompts say"
              + " for it (what the file says, where none is given); may be given several times.")
  List<String> embeddings = new ArrayList<>();

  @Mixin ComputeOption compute;
  @Mixin OffloadOption offload;

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

  @Option(
      names = "--vae-tiling",
      description =
          "Decode pictures larger than the autoencoder was trained on in tiles: less memory.")
  boolean vaeTiling;

  @Option(
      names = "--preview",
      paramLabel = "MODEL",
      description =
          "Tiny autoencoder (TAESD) folder; NAME-preview.png shows the pictures after every step.")
  @Nullable String preview;

  /** What was done. */
  record Summary(
      List<String> files,
      List<Picture> pictures,
      String model,
      int steps,
      String guidance,
      int networkEvaluations,
      double seconds,
      List<String> warnings) {}

  /** One picture. */
  record Picture(String file, String prompt, long seed) {}

  @Override
  void run() throws Exception {
    long all = (long) count * prompts.size();
    if (count < 1 || all > MOST_PICTURES) {
      throw new IllegalArgumentException(
          "--count is %d, expected 1 or more, and up to %,d pictures of all prompts together"
              .formatted(count, MOST_PICTURES));
    }
    if (batch < 1) {
      throw new IllegalArgumentException("--batch is " + batch + ", expected 1 or more");
    }
    DType type = compute.type();
    DType kept = compute.chosen().weights(compute.device());
    if (scheduler != null) {
      SchedulerConfig.named(scheduler); // for its refusal
    }
    Request request = pictures.read(asked());
    List<AppliedEmbeddings.Source> inversions = inversions();
    List<AppliedLoras.Source> additions = additions();
    pictures.fetchNets(this::fetch);
    Path folder = fetch(model, Installation.student());
    Device home = offload.home(compute.device(), err());
    try (DiffusionModel loaded = DiffusionModel.load(folder, kept, home).pack();
        AppliedEmbeddings embedded = AppliedEmbeddings.read(loaded, inversions);
        AppliedLoras added = AppliedLoras.fuse(embedded.model(), additions)) {
      added.notes().forEach(note -> err().println("note: " + note));
      embedded.placeholders().stream()
          .filter(placeholder -> !isSaid(placeholder))
          .forEach(name -> err().println("note: no prompt says " + name + ", so it is not used"));
      List<ControlNetModel> nets = pictures.loadNets(kept);
      nets.forEach(net -> net.to(home));
      try (AutoencoderTiny tiny =
          preview == null ? null : AutoencoderTiny.load(fetch(preview), DType.F32)) {
        Request bound = request.withControls(pictures.bound(nets));
        Pipeline pipe = pipeline(embedded.model(), added, type);
        draw(folder, offload.chosen() ? pipe.withOffload(compute.device()) : pipe, bound, tiny);
      } finally {
        nets.forEach(ControlNetModel::close);
      }
    }
  }

  private List<AppliedEmbeddings.Source> inversions() throws IOException {
    List<AppliedEmbeddings.Source> sources = new ArrayList<>();
    for (String each : embeddings) {
      EmbeddingArgument embedding = EmbeddingArgument.parse(each);
      sources.add(
          new AppliedEmbeddings.Source(fetchFile(embedding.file()), embedding.placeholder()));
    }
    return sources;
  }

  private Path fetchFile(String named) throws IOException {
    Path file = fetch(named);
    if (!Files.exists(file)) {
      throw new NoSuchFileException(file.toString());
    }
    return file;
  }

  private boolean isSaid(String placeholder) {
    String all = String.join(" ", prompts) + " " + negativePrompt;
    return all.toLowerCase(Locale.ROOT).contains(placeholder.toLowerCase(Locale.ROOT));
  }

  private List<AppliedLoras.Source> additions() throws IOException {
    List<AppliedLoras.Source> sources = new ArrayList<>();
    for (String each : loras) {
      LoraArgument lora = LoraArgument.parse(each);
      sources.add(new AppliedLoras.Source(fetchFile(lora.file()), lora.weight()));
    }
    return sources;
  }

  private Pipeline pipeline(DiffusionModel loaded, AppliedLoras added, DType compute) {
    if (scheduler != null) {
      return new Pipeline(loaded, compute).withScheduler(scheduler);
    }
    if (added.scheduler() != null) {
      err().println("note: sampled as the LoRA says; --scheduler chooses another");
      return new Pipeline(loaded.withScheduler(added.scheduler()), compute);
    }
    return new Pipeline(loaded, compute);
  }

  private void draw(Path folder, Pipeline pipe, Request asked, @Nullable AutoencoderTiny tiny)
      throws IOException {
    Request request = pipe.complete(asked);
    if (negativePrompt != null && request.guidance().isNone()) {
      throw new IllegalArgumentException(
          "--negative-prompt says nothing at guidance %s, %s; add --guidance 1.5, or more"
              .formatted(
                  request.guidance(),
                  guidance == null ? "which this model is drawn with" : "as you asked for"));
    }
    List<Request> requests = new ArrayList<>();
    prompts.forEach(prompt -> requests.addAll(request.withPrompt(prompt).repeat(count)));
    if (!cutPrompts) {
      refuseCut(
          pipe,
          requests,
          "shorten it, read all of it with --long-prompts, or draw without that with"
              + " --cut-prompts");
    }
    Map<String, String> settings = settings(folder, pipe.model(), request, pipe.warnings(requests));
    long start = System.nanoTime();
    try (DrawnPictures files = new DrawnPictures(out, requests.size(), err())) {
      Drawing drawing = new Drawing(files, tiny, requests, settings);
      try (Pipeline.Result result = pipe.generate(requests, batch, drawing)) {
        finish(folder, request, result, drawing, (System.nanoTime() - start) / 1e9);
      }
    }
  }

  /** The grid, the latents, and what is said about them. */
  private void finish(
      Path folder, Request request, Pipeline.Result result, Drawing drawing, double seconds)
      throws IOException {
    result.warnings().forEach(warning -> err().println("note: " + warning));
    List<Picture> pictures = drawing.pictures;
    Map<String, String> settings = drawing.settings;
    List<String> files = new ArrayList<>(pictures.stream().map(Picture::file).toList());
    if (pictures.size() > 1) {
      settings.put("prompt", String.join(" | ", prompts));
      settings.put("seed", seed + " to " + (seed + count - 1));
      BufferedImage grid = Images.grid(result.pictures(), columns(pictures.size()));
      drawing.files.whole(() -> Images.writePng(out, grid, settings));
      files.add(0, out.toString());
    }
    if (latents != null) {
      Map<String, Tensor> drawn = Map.of("latents", result.latents());
      drawing.files.whole(() -> SafetensorsWriter.write(latents, drawn, settings));
      files.add(latents.toString());
    }
    report(
        new Summary(
            files,
            pictures,
            folder.toString(),
            request.steps(),
            request.guidance().toString(),
            result.networkEvaluations(),
            seconds,
            result.warnings()),
        "%s (%s, %d steps, %.2f s)"
            .formatted(
                files.get(0),
                pictures.size() == 1 ? "1 picture" : pictures.size() + " pictures",
                request.steps(),
                seconds));
  }

  /** What is asked for in text and numbers. */
  private Request asked() {
    Request request =
        Request.of("")
            .withNegativePrompt(negativePrompt)
            .withGuidanceRescale(guidanceRescale)
            .withSeed(seed)
            .withSize(width == null ? 0 : width, height == null ? 0 : height)
            .withClipSkip(clipSkip)
            .withLongPrompts(longPrompts)
            .withVaeTiling(vaeTiling);
    request = steps == null ? request : request.withSteps(steps);
    return guidance == null ? request : request.withGuidance(Guidance.parse(guidance));
  }

  /** Refuses prompts that are longer than the model reads; {@code advice} says what to do. */
  static void refuseCut(Pipeline pipe, List<Request> requests, String advice) {
    List<String> cut = pipe.warnings(requests);
    if (!cut.isEmpty()) {
      throw new IllegalArgumentException(cut.get(0) + "; " + advice);
    }
  }

  private void progress(int done, int total) {
    if (!json && Progress.isTerminal() && total > 8) {
      String back = done == total ? "\r" : ""; // a writer of ours would show these escaped
      spec.commandLine().getErr().printf("\r%d of %d steps%s", done, total, back);
      err().flush();
    }
  }

  /** Shows how far it is, and writes each picture when it is drawn. */
  private final class Drawing implements StepListener {
    private final DrawnPictures files;
    private final @Nullable AutoencoderTiny tiny;
    private final List<Request> requests;
    private final Map<String, String> settings;
    private final List<Picture> pictures = new ArrayList<>();

    Drawing(
        DrawnPictures files,
        @Nullable AutoencoderTiny tiny,
        List<Request> requests,
        Map<String, String> settings) {
      this.files = files;
      this.tiny = tiny;
      this.requests = requests;
      this.settings = settings;
    }

    @Override
    public void step(int done, int total, Tensor latents) {
      progress(done, total);
      if (tiny == null) {
        return;
      }
      try {
        List<BufferedImage> now = Images.fromTensor(tiny.decode(latents));
        BufferedImage grid = Images.grid(now, columns(now.size()));
        files.whole(() -> Images.writePng(files.beside("preview"), grid, Map.of()));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public void drawn(int index, BufferedImage picture) {
      String prompt = requests.get(index).prompt();
      long seed = requests.get(index).seed();
      settings.put("prompt", prompt);
      settings.put("seed", Long.toString(seed));
      try {
        pictures.add(new Picture(files.write(picture, settings).toString(), prompt, seed));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  private Map<String, String> settings(
      Path folder, DiffusionModel loaded, Request request, List<String> warnings) {
    Map<String, String> settings = new LinkedHashMap<>();
    settings.put("prompt", "");
    if (negativePrompt != null) {
      settings.put("negative_prompt", negativePrompt);
    }
    settings.put("seed", "");
    settings.put("steps", Integer.toString(request.steps()));
    settings.put("guidance", request.guidance().toString());
    if (guidanceRescale > 0) {
      settings.put("guidance_rescale", Double.toString(guidanceRescale));
    }
    settings.put("scheduler", loaded.schedulerConfig().path("_class_name").asText());
    if (request.image() != null) {
      settings.put("image", pictures.image.getFileName().toString());
      settings.put("strength", Double.toString(request.strength()));
    }
    if (request.mask() != null) {
      settings.put("mask", pictures.mask.getFileName().toString());
    }
    if (!request.controls().isEmpty()) {
      settings.put("controlnet", pictures.describeControls());
    }
    if (longPrompts) {
      settings.put("long_prompts", "true");
    }
    if (!warnings.isEmpty()) {
      settings.put("cut_prompts", "true");
    }
    if (vaeTiling) {
      settings.put("vae_tiling", "true");
    }
    if (clipSkip > 0) {
      settings.put("clip_skip", Integer.toString(clipSkip));
    }
    if (!loras.isEmpty()) {
      List<String> names = loras.stream().map(LoraArgument::parse).map(String::valueOf).toList();
      settings.put("lora", String.join(" ", names));
    }
    if (!embeddings.isEmpty()) {
      settings.put("embedding", String.join(" ", embeddings));
    }
    settings.put("dtype", compute.type().torchName());
    settings.put("device", compute.device().toString());
    settings.put("model", Hub.nameOf(folder));
    settings.put("software", Main.VERSION);
    return settings;
  }

  private int columns(int pictures) {
    return count > 1 && prompts.size() > 1
        ? Math.min(count, 16)
        : (int) Math.min(16, Math.ceil(Math.sqrt(pictures)));
  }
}
