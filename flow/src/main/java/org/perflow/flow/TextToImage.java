package org.perflow.flow;

import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import org.perflow.io.Images;
import org.perflow.models.CLIPTokenizer;
import org.perflow.models.DiffusionModel;
import org.perflow.models.VaeConfig;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * From captions to pictures: encode the text, draw noise, follow the scheduler, decode. Every
 * picture starts from a generator of its own, seeded as {@code
 * torch.Generator().manual_seed(seed)}, so that it does not depend on what else is in the batch.
 * Networks compute in one dtype, latents and scheduler arithmetic stay float32. Records no
 * gradients. Does not own the model; thread-safe as long as nobody changes its weights.
 */
public final class TextToImage {
  private final DiffusionModel model;
  private final DType compute;

  /** A pipeline that computes in the dtype of the U-Net's weights. */
  public TextToImage(DiffusionModel model) {
    this(model, model.unet().namedParameters().values().iterator().next().value().dtype());
  }

  /** A pipeline that computes in {@code compute}, F32 or BF16, whatever the weights are kept in. */
  public TextToImage(DiffusionModel model, DType compute) {
    this.model = model;
    this.compute = compute;
  }

  /**
   * What to draw.
   *
   * @param prompt the caption
   * @param negativePrompt what to steer away from; empty is the null prompt
   * @param steps network evaluations (twice as many with guidance)
   * @param guidance scale of classifier-free guidance; 1 or less is none
   * @param seed of the noise
   * @param width in pixels; 0 for the model's own
   * @param height in pixels; 0 for the model's own
   */
  public record Request(
      String prompt,
      String negativePrompt,
      int steps,
      double guidance,
      long seed,
      int width,
      int height) {

    /** Refuses numbers that mean nothing. */
    public Request {
      if (steps < 1) {
        throw new IllegalArgumentException("steps is " + steps + "; want at least 1");
      }
      if (!(guidance >= 0 && guidance <= 1000)) {
        throw new IllegalArgumentException(
            "guidance is " + guidance + "; want 1 (none) to about 10");
      }
      if (width < 0 || height < 0) {
        throw new IllegalArgumentException(
            "size is " + width + "x" + height + "; want positive pixels, or 0 for the model's own");
      }
    }

    /** 4 steps, guidance 4.5, seed 0, the model's own size. */
    public static Request of(String prompt) {
      return new Request(prompt, "", 4, 4.5, 0, 0, 0);
    }

    public Request withPrompt(String value) {
      return new Request(value, negativePrompt, steps, guidance, seed, width, height);
    }

    public Request withNegativePrompt(String value) {
      return new Request(prompt, value, steps, guidance, seed, width, height);
    }

    public Request withSteps(int value) {
      return new Request(prompt, negativePrompt, value, guidance, seed, width, height);
    }

    public Request withGuidance(double value) {
      return new Request(prompt, negativePrompt, steps, value, seed, width, height);
    }

    public Request withSeed(long value) {
      return new Request(prompt, negativePrompt, steps, guidance, value, width, height);
    }

    public Request withSize(int newWidth, int newHeight) {
      return new Request(prompt, negativePrompt, steps, guidance, seed, newWidth, newHeight);
    }

    /** {@code count} pictures of the same with seeds seed, seed + 1, ... */
    public List<Request> repeat(int count) {
      return IntStream.range(0, count).mapToObj(i -> withSeed(seed + i)).toList();
    }
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

  /** Told after every step. */
  @FunctionalInterface
  public interface Listener {
    /**
     * A step is done.
     *
     * @param done steps done so far, over all batches
     * @param total steps there are in all
     * @param latents of this batch, float32 [B, C, h, w]; valid during the call only
     */
    void step(int done, int total, Tensor latents);
  }

  /** One picture. The caller closes the result. */
  public Result generate(Request request) {
    return generate(List.of(request), 1, (done, total, latents) -> {});
  }

  /**
   * Many pictures, {@code batchSize} at a time, which may differ in prompts and seeds only. The
   * caller closes the result.
   *
   * @throws IllegalArgumentException where sizes do not suit the model, or the scheduler refuses
   *     the number of steps
   */
  public Result generate(List<Request> requests, int batchSize, Listener listener) {
    if (requests.isEmpty() || batchSize < 1) {
      throw new IllegalArgumentException(
          "got " + requests.size() + " requests in batches of " + batchSize + "; want one or more");
    }
    Request first = requests.get(0);
    for (Request request : requests) {
      checkTogether(first, request);
    }
    long[] shape = latentShape(first);
    int batches = (requests.size() + batchSize - 1) / batchSize;
    List<Tensor> latents = new ArrayList<>();
    List<BufferedImage> pictures = new ArrayList<>();
    try (Scheduler scheduler = Schedulers.create(model.schedulerConfig(), first.steps());
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      for (int batch = 0; batch < batches; batch++) {
        int from = batch * batchSize;
        int stepsBefore = batch * scheduler.timesteps().length;
        int total = batches * scheduler.timesteps().length;
        Tensor z =
            sample(
                requests.subList(from, Math.min(from + batchSize, requests.size())),
                scheduler,
                shape,
                (done, ignored, now) -> listener.step(stepsBefore + done, total, now));
        latents.add(z);
        pictures.addAll(decode(z));
      }
      int passes = scheduler.timesteps().length * (first.guidance() > 1 ? 2 : 1);
      return new Result(
          scope.release(Tensor.cat(0, latents)), pictures, warnings(requests), passes);
    }
  }

  private static void checkTogether(Request a, Request b) {
    if (!a.equals(
        b.withPrompt(a.prompt()).withNegativePrompt(a.negativePrompt()).withSeed(a.seed()))) {
      throw new IllegalArgumentException(
          "requests of one call differ in prompts and seeds only; got " + a + " and " + b);
    }
  }

  /** From noise to latents, [B, C, h, w]. */
  private Tensor sample(
      List<Request> requests, Scheduler scheduler, long[] shape, Listener listener) {
    long[] seeds = requests.stream().mapToLong(Request::seed).toArray();
    try (SeededNoise noise = new SeededNoise(seeds);
        Scope scope = Scope.open()) {
      Denoiser denoiser = denoiser(requests);
      double[] timesteps = scheduler.timesteps();
      Tensor z = noise.draw(shape).mul(scheduler.initNoiseSigma());
      for (int i = 0; i < timesteps.length; i++) {
        try (Scope step = Scope.open()) {
          Tensor times = Tensor.full(timesteps[i], requests.size());
          Tensor output = denoiser.predict(scheduler.scaleModelInput(z, i), times);
          z = step.keep(scheduler.step(output, i, z, noise));
        }
        listener.step(i + 1, timesteps.length, z);
      }
      return scope.keep(z);
    }
  }

  private Denoiser denoiser(List<Request> requests) {
    Tensor text = embed(requests.stream().map(Request::prompt).toList());
    double guidance = requests.get(0).guidance();
    if (guidance <= 1) {
      return Denoiser.of(model.unet(), text);
    }
    Tensor negative = embed(requests.stream().map(Request::negativePrompt).toList());
    return Denoiser.guided(model.unet(), text, negative, guidance);
  }

  /** What the text encoder makes of captions, [B, L, D] in the compute dtype; each is run once. */
  public Tensor embed(List<String> texts) {
    List<String> distinct = List.copyOf(new LinkedHashSet<>(texts));
    List<Tensor> ids =
        distinct.stream().map(text -> Tensor.of(model.tokenizer().encode(text))).toList();
    Tensor embedded = model.textEncoder().forward(Tensor.stack(0, ids), compute).lastHiddenState();
    long[] rows = texts.stream().mapToLong(distinct::indexOf).toArray();
    return embedded.indexSelect(0, Tensor.of(rows));
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
    VaeConfig config = model.vae().config();
    // Some VAEs overflow in half precision; their config says so.
    DType type = config.forceUpcast() ? DType.F32 : compute;
    double shift = Optional.ofNullable(config.shiftFactor()).orElse(0.0);
    List<BufferedImage> pictures = new ArrayList<>();
    for (long i = 0; i < latents.size(0); i++) {
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        Tensor z = latents.narrow(0, i, 1).to(DType.F32).div(config.scalingFactor()).add(shift);
        pictures.addAll(Images.fromTensor(model.vae().decode(z.to(type))));
      }
    }
    return pictures;
  }

  private long[] latentShape(Request request) {
    int factor = model.vae().config().downsampling();
    int own = model.unet().config().sampleSize() * factor;
    int width = request.width() == 0 ? own : request.width();
    int height = request.height() == 0 ? own : request.height();
    if (width % factor != 0 || height % factor != 0) {
      throw new IllegalArgumentException(
          String.format(
              "size %dx%d does not fit this model: width and height must be multiples of %d; the"
                  + " nearest is %dx%d",
              width, height, factor, nearest(width, factor), nearest(height, factor)));
    }
    return new long[] {model.unet().config().inChannels(), height / factor, width / factor};
  }

  private static int nearest(int size, int factor) {
    return Math.max(factor, Math.round((float) size / factor) * factor);
  }

  private List<String> warnings(List<Request> requests) {
    Map<String, String> warnings = new LinkedHashMap<>();
    for (Request request : requests) {
      for (String text : List.of(request.prompt(), request.negativePrompt())) {
        cutOff(model.tokenizer(), text)
            .ifPresent(
                rest ->
                    warnings.put(
                        text,
                        "the model reads "
                            + (model.tokenizer().length() - 2)
                            + " tokens; cut off from the prompt: \""
                            + rest
                            + '"'));
      }
    }
    return List.copyOf(warnings.values());
  }

  /** The words at the end of {@code text} that {@link CLIPTokenizer#encode} leaves out. */
  static Optional<String> cutOff(CLIPTokenizer tokenizer, String text) {
    int limit = tokenizer.length() - 2; // begin and end of text take two
    String[] words = text.strip().split("\\s+", -1);
    int tokens = 0;
    for (int i = 0; i < words.length; i++) {
      tokens += tokenizer.tokens(words[i]).size();
      if (tokens > limit) {
        return Optional.of(String.join(" ", List.of(words).subList(i, words.length)));
      }
    }
    return Optional.empty();
  }
}
