package org.perflow.pipeline;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Guidance;
import org.perflow.flow.Recommended;
import org.perflow.flow.sampler.Sampling;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.hub.Hub;
import org.perflow.models.CLIPTokenizer;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * The front door: pictures from captions, pictures, masks and ControlNets.
 *
 * <pre>{@code
 * try (Pipeline pipe = Pipeline.load(Path.of("models/emoji-64-perflow"))) {
 *   BufferedImage apple = pipe.draw(Request.of("red apple").withSeed(42));
 *   BufferedImage pear = pipe.draw(Request.imageToImage("green pear", apple, 0.75));
 * }
 * }</pre>
 *
 * <p>Every picture has a generator of its own, seeded as {@code
 * torch.Generator().manual_seed(seed)}, and uses it in the order of diffusers' pipelines: the same
 * seed is the same picture there, and here whatever else is in the batch. Networks compute in one
 * dtype, latents and scheduler arithmetic stay float32. Records no gradients. Thread-safe as long
 * as nobody changes the weights.
 */
public final class Pipeline implements AutoCloseable {
  private final DiffusionModel model;
  private final DType compute;
  private final boolean owner;
  private final @Nullable Chosen chosen;
  private final Placement placement;

  /** A sampler that is not the model's own, and the config of the model's own. */
  private record Chosen(String sampler, ObjectNode base) {}

  private Pipeline(
      DiffusionModel model,
      DType compute,
      boolean owner,
      @Nullable Chosen chosen,
      Placement placement) {
    this.model = model;
    this.compute = compute;
    this.owner = owner;
    this.chosen = chosen;
    this.placement = placement;
  }

  /**
   * The model of a diffusers folder, on a CUDA device where there is one ({@link Device#AUTO}), in
   * float32 or bfloat16, whichever {@link Compute#AUTO} finds faster there. Closing the pipeline
   * frees it.
   */
  public static Pipeline load(Path folder) throws IOException {
    Device device = Device.AUTO.settled();
    return load(folder, Compute.AUTO.dtype(device), device);
  }

  /**
   * The same of a model by its name: a path, or one of the hub such as {@code
   * stabilityai/sdxl-turbo}, from where it is fetched ({@link Hub}).
   */
  public static Pipeline load(String named) throws IOException {
    return load(Hub.fetch(named));
  }

  /** On the CPU, with weights in {@code type}, F32 or BF16, which it computes in, too. */
  public static Pipeline load(Path folder, DType type) throws IOException {
    return load(folder, type, Device.CPU);
  }

  /** The same on a device, where the type may be F16, too. */
  public static Pipeline load(Path folder, DType type, Device device) throws IOException {
    DiffusionModel model = DiffusionModel.load(folder, type, device).pack();
    return new Pipeline(model, type, true, null, Placement.THERE);
  }

  /** A pipeline that computes in the dtype of the U-Net's weights. Does not own the model. */
  public Pipeline(DiffusionModel model) {
    this(model, model.unet().namedParameters().values().iterator().next().value().dtype());
  }

  /** A pipeline that computes in {@code compute}, F32 or BF16, whatever the weights are kept in. */
  public Pipeline(DiffusionModel model, DType compute) {
    this(model, compute, false, null, Placement.THERE);
  }

  /** The model that draws. */
  public DiffusionModel model() {
    return model;
  }

  /**
   * The same model with another sampler, one of {@link org.perflow.models.SchedulerConfig#NAMES}.
   * Does not own the model: this pipeline is still the one to close.
   */
  public Pipeline withScheduler(String name) {
    ObjectNode base = model.schedulerConfig();
    DiffusionModel other = model.withScheduler(Schedulers.config(name, base));
    return new Pipeline(other, compute, false, new Chosen(name, base), placement);
  }

  /**
   * The same model, which is on the CPU and stays there, drawn with on {@code device}: text
   * encoders, U-Net with ControlNets, and autoencoder are copied there in turn, each for its share
   * of a drawing. So a GPU has to hold no more than the largest of them, and the host all of them;
   * each drawing takes the time of the copies besides. Threads wait for each other. Does not own
   * the model: this pipeline is still the one to close.
   *
   * <pre>{@code
   * Device gpu = Device.parse("cuda");
   * try (Pipeline host = Pipeline.load(Path.of("models/emoji-64"), DType.F16, Device.CPU)) {
   *   BufferedImage apple = host.withOffload(gpu).draw(Request.of("red apple"));
   * }
   * }</pre>
   *
   * @throws IllegalArgumentException where the model is not on the CPU, or there is no such device
   */
  public Pipeline withOffload(Device device) {
    if (!model.device().isCpu()) {
      throw new IllegalArgumentException(
          "the model is on %s; load it on the CPU to have its parts copied to %s in turn"
              .formatted(model.device(), device));
    }
    return new Pipeline(model, compute, false, chosen, Placement.on(device));
  }

  /**
   * What came of it. Closing frees the latents.
   *
   * @param latents float32 [N, C, h, w], scaled as the U-Net sees them
   * @param pictures one a request, in order
   * @param warnings such as the end of a prompt that the model cannot read
   * @param networkEvaluations U-Net passes a picture
   */
  public record Result(
      Tensor latents, List<BufferedImage> pictures, List<String> warnings, int networkEvaluations)
      implements AutoCloseable {
    @Override
    public void close() {
      latents.close();
    }
  }

  /**
   * {@code request} with the model's own steps and guidance where it names none: as it is drawn.
   */
  public Request complete(Request request) {
    Recommended own = Recommended.of(model);
    Request stepped = request.steps() == null ? request.withSteps(own.steps()) : request;
    return request.guidance().equals(Guidance.OWN) ? stepped.withGuidance(own.guidance()) : stepped;
  }

  /** One picture. */
  public BufferedImage draw(Request request) {
    try (Result result = generate(request)) {
      return result.pictures().get(0);
    }
  }

  /** One picture, with its latents. The caller closes the result. */
  public Result generate(Request request) {
    return generate(List.of(request), 1, StepListener.NONE);
  }

  /**
   * Many pictures, {@code batchSize} at a time, which may differ in prompts and seeds only. The
   * caller closes the result.
   *
   * @throws IllegalArgumentException where sizes do not suit the model, or the scheduler refuses
   *     the number of steps
   */
  public Result generate(List<Request> requests, int batchSize, StepListener listener) {
    if (requests.isEmpty() || batchSize < 1) {
      throw new IllegalArgumentException(
          "got " + requests.size() + " requests in batches of " + batchSize + "; want one or more");
    }
    List<List<Request>> batches = batches(requests, batchSize);
    requests.forEach(request -> checkTogether(requests.get(0), request));
    List<Tensor> latents = new ArrayList<>();
    List<BufferedImage> pictures = new ArrayList<>();
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      for (int i = 0; i < batches.size(); i++) {
        int before = i;
        StepListener inAll =
            (done, steps, now) -> listener.step(before * steps + done, batches.size() * steps, now);
        try (Scope batch = Scope.open()) {
          latents.add(batch.keep(sample(batches.get(i), inAll).latents()));
        }
        for (BufferedImage picture : images(latents.get(i), requests.get(0).vaeTiling())) {
          listener.drawn(pictures.size(), picture);
          pictures.add(picture);
        }
      }
      return new Result(
          scope.release(Tensor.cat(0, latents)),
          pictures,
          warnings(requests),
          networkEvaluations(requests.get(0)));
    }
  }

  /**
   * One batch, not decoded: every state on the way and the time that sampling took. What it returns
   * belongs to the caller's scope.
   *
   * @throws IllegalArgumentException as {@link #generate(List, int, StepListener)}
   */
  public Sampled sample(List<Request> requests, StepListener listener) {
    requests.forEach(request -> checkTogether(requests.get(0), request));
    List<Request> complete = requests.stream().map(this::complete).toList();
    Request first = complete.get(0);
    checkChannels(first);
    long[] size = latentSize(first);
    try (NoGrad guard = NoGrad.enter();
        Scheduler scheduler = scheduler(first)) {
      return new BatchRun(model, compute, placement, complete, scheduler, size).sample(listener);
    }
  }

  /** U-Net passes that a picture of {@code request} takes. */
  public int networkEvaluations(Request request) {
    Request complete = complete(request);
    try (Scheduler scheduler = scheduler(complete)) {
      return Sampling.evaluations(
          scheduler,
          complete.guidance(),
          model.unet().config().takesTimestepCond(),
          BatchRun.firstStep(complete, scheduler));
    }
  }

  private Scheduler scheduler(Request complete) {
    return Schedulers.create(schedulerConfig(complete), complete.steps());
  }

  /**
   * The settings of the sampler for {@code request}: the model's, corrected as diffusers' pipeline
   * for such requests corrects old ones, or those of {@link #withScheduler}.
   */
  public ObjectNode schedulerConfig(Request request) {
    boolean xl = model.second() != null; // only the pipelines of the older families correct configs
    if (chosen == null) {
      ObjectNode own = model.schedulerConfig();
      return xl ? own : OldConfigs.corrected(own, request);
    }
    ObjectNode base = chosen.base();
    return Schedulers.config(
        chosen.sampler(), xl ? base : OldConfigs.correctedWhereWritten(base, request));
  }

  /** As large as allowed, but of prompts of one length each: padding would change the shorter. */
  private List<List<Request>> batches(List<Request> requests, int batchSize) {
    PromptEncoder encoder = new PromptEncoder(model, compute, 0, requests.get(0).longPrompts());
    List<List<Request>> batches = new ArrayList<>();
    int pieces = 0;
    for (Request request : requests) {
      int own = BatchRun.pieces(encoder, request);
      if (batches.isEmpty()
          || own != pieces
          || batches.get(batches.size() - 1).size() == batchSize) {
        batches.add(new ArrayList<>());
      }
      pieces = own;
      batches.get(batches.size() - 1).add(request);
    }
    return batches;
  }

  private static void checkTogether(Request a, Request b) {
    if (!a.equals(
        b.withPrompt(a.prompt()).withNegativePrompt(a.negativePrompt()).withSeed(a.seed()))) {
      throw new IllegalArgumentException(
          "requests of one call differ in prompts and seeds only; got " + a + " and " + b);
    }
  }

  private void checkChannels(Request request) {
    int latent = model.vae().config().latentChannels();
    int channels = model.unet().config().inChannels();
    boolean inpaints = channels == 2 * latent + 1; // mask and masked picture besides
    if (channels != latent && !(inpaints && request.mask() != null)) {
      throw new IllegalArgumentException(
          inpaints
              ? "this U-Net is for inpainting; give an image and a mask"
              : "this U-Net has %d input channels; pipelines are built for %d, or %d with a mask"
                  .formatted(channels, latent, 2 * latent + 1));
    }
  }

  /**
   * What the U-Net is told about captions at the model's own size, owned by the caller's scope.
   *
   * @param prompts null for one that is not given
   */
  public Conditioning encode(List<@Nullable String> prompts) {
    int side = ownSize();
    PromptEncoder encoder = new PromptEncoder(model, compute, 0, false);
    return placement.run(() -> encoder.encode(prompts, 1, side, side), Placement.readers(model));
  }

  /**
   * Standard normal float32 [seeds.length, shape...]: row i is what PyTorch draws for one picture
   * after {@code manual_seed(seeds[i])}.
   */
  public static Tensor noise(long[] seeds, long... shape) {
    try (SeededNoise noise = new SeededNoise(seeds)) {
      return noise.draw(shape);
    }
  }

  /** Pictures of scaled latents [B, C, h, w], decoded one by one to bound memory. */
  public List<BufferedImage> decode(Tensor latents) {
    return images(latents, false);
  }

  private List<BufferedImage> images(Tensor latents, boolean tiling) {
    VaeCodec codec = new VaeCodec(model.vae(), compute, tiling);
    return placement.run(() -> codec.images(latents), model.vae());
  }

  private int ownSize() {
    return model.unet().config().sampleSize() * model.vae().config().downsampling();
  }

  /** Height and width of the latents. */
  private long[] latentSize(Request request) {
    int factor = model.vae().config().downsampling();
    BufferedImage image = request.image();
    int width = image == null ? ownSize() : image.getWidth();
    int height = image == null ? ownSize() : image.getHeight();
    width = request.width() == 0 ? width : request.width();
    height = request.height() == 0 ? height : request.height();
    Request.checkSize(width, height);
    if (width % factor != 0 || height % factor != 0) {
      throw new IllegalArgumentException(
          String.format(
              "size %dx%d does not fit this model: width and height must be multiples of %d; the"
                  + " nearest is %dx%d",
              width, height, factor, nearest(width, factor), nearest(height, factor)));
    }
    return new long[] {height / factor, width / factor};
  }

  private static int nearest(int size, int factor) {
    return Math.max(factor, Math.round((float) size / factor) * factor);
  }

  /**
   * The ends of prompts that this model cannot read, in words: it draws without them. Empty where
   * all is read.
   */
  public List<String> warnings(List<Request> requests) {
    Map<String, String> warnings = new LinkedHashMap<>();
    CLIPTokenizer tokenizer = model.tokenizer();
    for (Request request : requests) {
      if (!request.longPrompts()) {
        warn(tokenizer, request.prompt(), warnings);
        warn(tokenizer, request.negativePrompt(), warnings);
      }
    }
    return List.copyOf(warnings.values());
  }

  private static void warn(
      CLIPTokenizer tokenizer, @Nullable String text, Map<String, String> warnings) {
    if (text != null) {
      PromptEncoder.cutOff(tokenizer, text)
          .ifPresent(
              rest ->
                  warnings.put(
                      text,
                      "the model reads %d tokens; cut off from the prompt: \"%s\""
                          .formatted(tokenizer.length() - 2, WeightedText.brief(rest))));
    }
  }

  /** Frees the model where {@link #load} read it. */
  @Override
  public void close() {
    if (owner) {
      model.close();
    }
  }
}
