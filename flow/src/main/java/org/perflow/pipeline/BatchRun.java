package org.perflow.pipeline;

import java.awt.Color;
import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Conditioning;
import org.perflow.flow.sampler.Sampling;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.io.Images;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Module;

/**
 * One batch from noise, or from a picture, to latents: what {@link Sampling} starts from, and what
 * a mask puts back after its steps. Every picture's generator is drawn from in the order of
 * diffusers' pipelines, so that the same seed is the same picture: sample of the picture's latents,
 * noise, sample of the masked picture's latents, then the sampler's noise.
 *
 * @param placement where the model's parts compute
 * @param requests which differ in prompts and seeds only, with steps and guidance
 * @param size height and width of the latents
 */
record BatchRun(
    DiffusionModel model,
    DType compute,
    Placement placement,
    List<Request> requests,
    Scheduler scheduler,
    long[] size) {

  /** What the loop begins with; all but z are there for masks only. */
  private record Start(Tensor z, Tensor noise, @Nullable Tensor data, @Nullable Mask mask) {}

  /**
   * A mask.
   *
   * @param drawn 1 where the picture is drawn anew, else 0, [1, 1, h, w]
   * @param masked latents of the rest of the picture, [B, C, h, w]
   */
  private record Mask(Tensor drawn, Tensor masked) {}

  private Request first() {
    return requests.get(0);
  }

  /** The states [B, C, h, w], float32, owned by the caller's scope. */
  Sampled sample(StepListener listener) {
    long[] seeds = requests.stream().mapToLong(Request::seed).toArray();
    try (SeededNoise noise = new SeededNoise(seeds);
        Scope scope = Scope.open()) {
      int from = firstStep(first(), scheduler);
      Start start = start(noise, from);
      Sampling sampling = placement.run(() -> sampling(start, from), Placement.readers(model));
      device().synchronize();
      long begin = System.nanoTime();
      List<Tensor> states =
          placement.run(
              () ->
                  sampling.run(
                      start.z(), from, noise, (i, z) -> after(i, from, z, start, listener)),
              denoisers());
      device().synchronize();
      double seconds = (System.nanoTime() - begin) / 1e9;
      states.forEach(scope::keep);
      return new Sampled(states, seconds);
    }
  }

  private Tensor after(int index, int from, Tensor z, Start start, StepListener listener) {
    Tensor kept = keepUnmasked(z, index, start);
    int steps = scheduler.timesteps().length;
    boolean last = index + 1 == steps;
    Tensor seen = last ? kept : scheduler.scaleModelInput(kept, index + 1);
    listener.step(index + 1 - from, steps - from, seen);
    return kept;
  }

  /** Index of the first step: the later, the weaker image-to-image is. */
  static int firstStep(Request request, Scheduler scheduler) {
    if (request.image() == null) {
      return 0;
    }
    int steps = request.steps();
    int skipped = steps - Math.min((int) (steps * request.strength()), steps);
    return skipped * scheduler.timestepsPerStep();
  }

  private Start start(SeededNoise noise, int from) {
    int channels = model.vae().config().latentChannels();
    long[] shape = {channels, size[0], size[1]};
    BufferedImage image = first().image();
    if (image == null) {
      Tensor drawn = noise.draw(shape).to(device());
      return new Start(drawn.mul(scheduler.initNoiseSigma()), drawn, null, null);
    }
    Tensor picture = picture(image); // [1, 3, H, W] in -1..1
    boolean masks = first().mask() != null;
    boolean plain = masks && readsMasks() && first().strength() == 1; // never looks at the picture
    Tensor data = plain ? null : encoded(picture, noise.draw(shape));
    Tensor drawn = noise.draw(shape).to(device());
    Tensor z =
        data == null || (masks && first().strength() == 1)
            ? drawn.mul(scheduler.initNoiseSigma())
            : scheduler.addNoise(data, drawn, from);
    return new Start(z, drawn, data, masks ? mask(picture, noise.draw(shape)) : null);
  }

  private Mask mask(Tensor picture, Tensor noise) {
    Tensor mask = mask(first().mask()); // [1, 1, H, W]
    Tensor rest = picture.mul(mask.lt(0.5).to(DType.F32));
    return new Mask(
        Functional.upsampleNearest(mask, size[0], size[1]).to(device()), // as diffusers shrinks it
        encoded(rest, noise));
  }

  private Tensor encoded(Tensor picture, Tensor noise) {
    VaeCodec codec = new VaeCodec(model.vae(), compute, first().vaeTiling());
    return placement.run(() -> codec.encode(picture, noise), model.vae()).to(device());
  }

  /** Of the latents. */
  private Device device() {
    return placement.of(model.unet());
  }

  private Module[] denoisers() {
    Stream<Module> nets = first().controls().stream().map(Control::net);
    return Stream.concat(Stream.of(model.unet()), nets.distinct()).toArray(Module[]::new);
  }

  /** Where the U-Net cannot read masks, the rest of the picture is put back after every step. */
  private Tensor keepUnmasked(Tensor z, int index, Start start) {
    if (start.mask() == null || start.data() == null || readsMasks()) {
      return z;
    }
    boolean last = index + 1 == scheduler.timesteps().length;
    Tensor rest = last ? start.data() : scheduler.addNoise(start.data(), start.noise(), index + 1);
    Tensor drawn = start.mask().drawn();
    return rest.mul(drawn.neg().add(1)).add(z.mul(drawn));
  }

  private boolean readsMasks() {
    return model.unet().config().inChannels() > model.vae().config().latentChannels();
  }

  private Sampling sampling(Start start, int from) {
    PromptEncoder encoder =
        new PromptEncoder(model, compute, first().clipSkip(), first().longPrompts());
    // diffusers skips layers for the prompt only
    PromptEncoder negative = new PromptEncoder(model, compute, 0, first().longPrompts());
    int pieces = requests.stream().mapToInt(request -> pieces(encoder, request)).max().orElse(1);
    List<String> prompts = requests.stream().map(Request::prompt).toList();
    Conditioning told = encoder.encode(prompts, pieces, height(), width()).to(device());
    Conditioning empty = null;
    if (!first().guidance().isNone()) {
      List<@Nullable String> negatives = new ArrayList<>();
      requests.forEach(request -> negatives.add(request.negativePrompt()));
      empty = negative.encode(negatives, pieces, height(), width()).to(device());
    }
    ConditionedUnet unet = new ConditionedUnet(model.unet(), controls(), masked(start.mask()));
    int steps = scheduler.timesteps().length - from;
    return new Sampling(
        scheduler,
        index -> unet.at(index - from, steps),
        told,
        empty,
        first().guidance(),
        first().guidanceRescale());
  }

  /** What an inpainting U-Net sees beside the latents. */
  private @Nullable Tensor masked(@Nullable Mask mask) {
    if (mask == null || !readsMasks()) {
      return null;
    }
    Tensor drawn = mask.drawn().expand(requests.size(), 1, size[0], size[1]);
    return Tensor.cat(1, drawn, mask.masked());
  }

  /** Pieces of text that a request needs, its negative prompt included. */
  static int pieces(PromptEncoder encoder, Request request) {
    return Math.max(encoder.pieces(request.prompt()), encoder.pieces(request.negativePrompt()));
  }

  private List<ConditionedUnet.Bound> controls() {
    List<ConditionedUnet.Bound> bound = new ArrayList<>();
    for (Control control : first().controls()) {
      BufferedImage condition = Images.onGround(control.picture(), Color.BLACK);
      Tensor unit = picture(condition).mul(0.5).add(0.5);
      bound.add(new ConditionedUnet.Bound(control, unit.to(placement.of(control.net()))));
    }
    return bound;
  }

  private int height() {
    return (int) size[0] * model.vae().config().downsampling();
  }

  private int width() {
    return (int) size[1] * model.vae().config().downsampling();
  }

  /** [1, 3, H, W] in -1..1, at the size that is drawn. */
  private Tensor picture(BufferedImage image) {
    return Images.toTensor(Images.resizeLanczos(image, width(), height())).unsqueeze(0);
  }

  /** [1, 1, H, W], 1 where the picture is at least mid-grey, else 0; so where it is transparent. */
  private Tensor mask(BufferedImage image) {
    BufferedImage opaque = Images.onGround(image, Color.BLACK);
    BufferedImage sized = Images.resizeLanczos(opaque, width(), height());
    float[] values = new float[width() * height()];
    for (int i = 0; i < values.length; i++) {
      int rgb = sized.getRGB(i % width(), i / width());
      int r = (rgb >> 16) & 0xFF;
      int g = (rgb >> 8) & 0xFF;
      int b = rgb & 0xFF;
      int grey = (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16; // ITU-R 601, as Pillow has it
      values[i] = grey >= 127.5 ? 1 : 0;
    }
    return Tensor.of(values, 1, 1, height(), width());
  }
}
