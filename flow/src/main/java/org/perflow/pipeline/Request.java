package org.perflow.pipeline;

import java.awt.image.BufferedImage;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Guidance;
import org.perflow.io.Images;
import org.perflow.io.picture.PictureDecoder;
import org.perflow.models.ControlNetModel;

/**
 * What a {@link Pipeline} draws. Immutable; begin with {@link #of}, {@link #imageToImage} or {@link
 * #inpaint} and change what differs:
 *
 * <pre>{@code
 * Request apple = Request.of("red apple").withSeed(42).withSize(64, 64);
 * List<Request> six = apple.withSteps(8).withGuidance(3).repeat(6); // seeds 42 to 47
 * }</pre>
 *
 * <pre>{@code
 * Request apple = Request.of("red apple").withNegativePrompt("worm").withSeed(7);
 * Request larger = apple.withSize(128, 128).withGuidance(5);
 * }</pre>
 *
 * @param prompt the caption
 * @param negativePrompt what to steer away from; null where there is none, which XL takes for zeros
 *     and the other families for ""
 * @param steps of the sampler, network evaluations of most (twice as many with guidance); null for
 *     the model's own
 * @param guidance scale of classifier-free guidance; {@link Guidance#OWN} for the model's own
 * @param guidanceRescale how far the spread of what guidance makes is taken back to that without
 *     it, 0 (not at all) to 1: against overexposure, 0.7 is usual for zero terminal SNR
 * @param seed of the noise
 * @param width in pixels; 0 for the picture's or else the model's own
 * @param height in pixels; 0 for the picture's or else the model's own
 * @param image what to start from; stretched to the size drawn
 * @param strength part of the steps, above 0 to 1, that is drawn anew from {@code image}
 * @param mask white where {@code image} is drawn anew; what is transparent is kept, as black is
 * @param controls ControlNets that take part
 * @param clipSkip layers left out at the end of the text encoders; reads the prompt only, as in
 *     diffusers, not the negative one
 * @param longPrompts read prompts of any length in pieces of 75 tokens, and weights such as {@code
 *     (red:1.2)}
 * @param vaeTiling decode in tiles what is larger than the autoencoder was trained on: less memory,
 *     slightly other pixels
 */
public record Request(
    String prompt,
    @Nullable String negativePrompt,
    @Nullable Integer steps,
    Guidance guidance,
    double guidanceRescale,
    long seed,
    int width,
    int height,
    @Nullable BufferedImage image,
    double strength,
    @Nullable BufferedImage mask,
    List<Control> controls,
    int clipSkip,
    boolean longPrompts,
    boolean vaeTiling) {
  private static final int MOST_STEPS = 100_000; // as the longest table of noise levels

  /** Refuses numbers that mean nothing. */
  public Request {
    controls = List.copyOf(controls);
    if (steps != null && (steps < 1 || steps > MOST_STEPS)) {
      throw new IllegalArgumentException("steps is %d; want 1 to %,d".formatted(steps, MOST_STEPS));
    }
    if (!(guidanceRescale >= 0 && guidanceRescale <= 1)) {
      throw new IllegalArgumentException(
          "guidance rescale is " + guidanceRescale + "; want 0 (none) to 1, 0.7 is usual");
    }
    if (width < 0 || height < 0) {
      throw new IllegalArgumentException(
          "size is " + width + "x" + height + "; want positive pixels, or 0 for the model's own");
    }
    checkSize(Math.max(width, 1), Math.max(height, 1));
    if (!(strength > 0 && strength <= 1)) {
      throw new IllegalArgumentException(
          "strength is " + strength + "; want above 0 (nothing changes) to 1 (all is drawn anew)");
    }
    if (image != null && steps != null && (int) (steps * strength) < 1) {
      throw new IllegalArgumentException(
          "strength %s of %d steps leaves none to draw; want at least %.3f"
              .formatted(strength, steps, 1.0 / steps));
    }
    if (mask != null && image == null) {
      throw new IllegalArgumentException("a mask without an image; give the image it is for");
    }
    if (clipSkip < 0) {
      throw new IllegalArgumentException("clip skip is " + clipSkip + "; want 0 or more");
    }
  }

  /** Refuses what {@link Images} would not read again. */
  static void checkSize(long width, long height) {
    if (width * height > PictureDecoder.MAX_PIXELS) {
      throw new IllegalArgumentException(
          "size is %dx%d; want at most %,d pixels"
              .formatted(width, height, PictureDecoder.MAX_PIXELS));
    }
  }

  /** Text to image: seed 0, the model's own steps, guidance and size. */
  public static Request of(String prompt) {
    return new Request(
        prompt, null, null, Guidance.OWN, 0, 0, 0, 0, null, 1, null, List.of(), 0, false, false);
  }

  /** Image to image: {@code strength} 0.3 changes little, 0.8 much. */
  public static Request imageToImage(String prompt, BufferedImage image, double strength) {
    return of(prompt).withImage(image, strength);
  }

  /** Draws anew where {@code mask} is white; what is transparent in it is kept. */
  public static Request inpaint(String prompt, BufferedImage image, BufferedImage mask) {
    return of(prompt).withImage(image, 1).withMask(mask);
  }

  /**
   * A picture {@code factor} times as large, with details drawn anew tile by tile: PeRFlow's
   * refiner, which starts from the enlarged picture and has a ControlNet of the "tile" kind follow
   * it. The model's own steps and guidance, strength 1, decoded in tiles.
   */
  public static Request refine(
      String prompt, BufferedImage picture, int factor, ControlNetModel tile) {
    if (factor < 1 || factor > 8) {
      throw new IllegalArgumentException("factor is " + factor + "; want 1 to 8, 2 is usual");
    }
    checkSize((long) factor * picture.getWidth(), (long) factor * picture.getHeight());
    BufferedImage large =
        Images.resizeLanczos(picture, factor * picture.getWidth(), factor * picture.getHeight());
    return imageToImage(prompt, large, 1).withControls(Control.of(tile, large)).withVaeTiling(true);
  }

  public Request withPrompt(String value) {
    return with(draft -> draft.prompt = value);
  }

  public Request withNegativePrompt(@Nullable String value) {
    return with(draft -> draft.negativePrompt = value);
  }

  public Request withSteps(int value) {
    return with(draft -> draft.steps = value);
  }

  /** One scale for all steps. */
  public Request withGuidance(double scale) {
    return withGuidance(Guidance.of(scale));
  }

  public Request withGuidance(Guidance value) {
    return with(draft -> draft.guidance = value);
  }

  public Request withGuidanceRescale(double value) {
    return with(draft -> draft.guidanceRescale = value);
  }

  public Request withSeed(long value) {
    return with(draft -> draft.seed = value);
  }

  public Request withSize(int newWidth, int newHeight) {
    return with(
        draft -> {
          draft.width = newWidth;
          draft.height = newHeight;
        });
  }

  public Request withImage(BufferedImage value, double newStrength) {
    return with(
        draft -> {
          draft.image = value;
          draft.strength = newStrength;
        });
  }

  public Request withMask(BufferedImage value) {
    return with(draft -> draft.mask = value);
  }

  public Request withControls(Control... values) {
    return with(draft -> draft.controls = List.of(values));
  }

  public Request withClipSkip(int value) {
    return with(draft -> draft.clipSkip = value);
  }

  public Request withLongPrompts(boolean value) {
    return with(draft -> draft.longPrompts = value);
  }

  public Request withVaeTiling(boolean value) {
    return with(draft -> draft.vaeTiling = value);
  }

  /** {@code count} pictures of the same with seeds seed, seed + 1, ... */
  public List<Request> repeat(int count) {
    return IntStream.range(0, count).mapToObj(i -> withSeed(seed + i)).toList();
  }

  private Request with(Consumer<Draft> change) {
    Draft draft = new Draft(this);
    change.accept(draft);
    return draft.request();
  }

  /** All components, to change one. */
  private static final class Draft {
    private String prompt;
    private @Nullable String negativePrompt;
    private @Nullable Integer steps;
    private Guidance guidance;
    private double guidanceRescale;
    private long seed;
    private int width;
    private int height;
    private @Nullable BufferedImage image;
    private double strength;
    private @Nullable BufferedImage mask;
    private List<Control> controls;
    private int clipSkip;
    private boolean longPrompts;
    private boolean vaeTiling;

    Draft(Request from) {
      prompt = from.prompt;
      negativePrompt = from.negativePrompt;
      steps = from.steps;
      guidance = from.guidance;
      guidanceRescale = from.guidanceRescale;
      seed = from.seed;
      width = from.width;
      height = from.height;
      image = from.image;
      strength = from.strength;
      mask = from.mask;
      controls = from.controls;
      clipSkip = from.clipSkip;
      longPrompts = from.longPrompts;
      vaeTiling = from.vaeTiling;
    }

    Request request() {
      return new Request(
          prompt,
          negativePrompt,
          steps,
          guidance,
          guidanceRescale,
          seed,
          width,
          height,
          image,
          strength,
          mask,
          controls,
          clipSkip,
          longPrompts,
          vaeTiling);
    }
  }
}
