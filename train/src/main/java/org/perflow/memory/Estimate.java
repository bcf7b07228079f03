package org.perflow.memory;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.perflow.memory.MemoryPlan.Part;
import org.perflow.memory.MemoryPlan.When;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.train.TrainOptions;

/** The arithmetic: bytes of everything that a training has in memory. */
final class Estimate {
  /** Java with its heap, libtorch and their code. */
  private static final long PROGRAM = 600L << 20;

  /** Maps of the widest size that the encoder has alive. */
  private static final int MAPS_OF_THE_ENCODER = 16;

  /** Maps of the width of a text encoder that one of its layers has alive, of so many captions. */
  private static final int MAPS_OF_A_LAYER = 25;

  private static final int CAPTIONS_AT_A_TIME = 64;

  /** Pixels that are encoded at a time. */
  private static final long PIXELS_AT_A_TIME = 32 * 64 * 64;

  /** Gradients, and what malloc does not reuse, as a multiple of the maps: measured. */
  private static final double BACKWARD = 1.7;

  /** The same where blocks are computed twice, which need room for all that a block does. */
  private static final double BACKWARD_AGAIN = 3.5;

  /**
   * How often the weights of a block are there while it is computed again: what factors make of
   * them, their gradient, and both as oneDNN orders them. Measured.
   */
  private static final int COPIES_OF_A_BLOCK = 3;

  private static final long MOST_IN_SHARES = 1L << 28; // FlatParameters

  private Estimate() {}

  /** All of them, as they lie in {@code memory}. */
  static List<Part> of(Workload work, Memory memory) {
    When host = memory.onGpu() ? When.HOST : When.ALWAYS;
    List<Part> parts = new ArrayList<>();
    TrainOptions train = work.train();
    long all = work.unetWeights();
    long trained = work.trained();
    parts.add(new Part("Java and libtorch", PROGRAM, host));
    parts.add(new Part("student, float32", 4 * all, When.TRAINING));
    DType teacher = work.teacher();
    if (teacher != null) {
      parts.add(new Part("teacher, " + teacher.torchName(), teacher.bytes() * all, When.TRAINING));
    }
    if (work.beside().trained() > 0) {
      long others = Math.round(work.beside().trained() * all);
      long bytes = 8 * others + train.moments().bytes(others);
      parts.add(new Part("networks that are trained beside it", bytes, When.TRAINING));
    }
    if (work.beside().frozen() > 0) {
      parts.add(new Part("copies", Math.round(4 * work.beside().frozen() * all), When.TRAINING));
    }
    long cached = 8L * latent(work) * work.pictures();
    cached += work.captions() * work.textNumbers() * train.computeType().bytes();
    parts.add(new Part("latents and captions", cached, host));
    parts.add(
        new Part(
            "VAE and text encoders",
            4 * (work.vaeWeights() + work.textWeights()),
            work.fromScratch() || train.sampleEvery() > 0 ? When.ALWAYS : When.PREPARING));
    parts.add(preparing(work));
    if (work.lora().lowRank()) {
      parts.add(new Part("low-rank factors", 4 * trained, When.TRAINING));
    }
    long shares = shares(work, memory);
    parts.add(new Part("gradients", 4 * trained * shares, When.TRAINING));
    parts.add(
        new Part(
            "moments, " + train.moments().name().toLowerCase(Locale.ROOT),
            train.moments().bytes(trained),
            When.TRAINING));
    if (train.ema() > 0) {
      parts.add(new Part("averaged weights", 4 * trained, When.TRAINING));
    }
    parts.add(
        new Part(
            "activations of a batch of %d%s"
                .formatted(train.batch(), train.gradientCheckpointing() ? ", computed twice" : ""),
            activations(work, shares),
            When.TRAINING));
    return parts;
  }

  /** How many gradients there are of each weight: on the CPU, of small networks, one a thread. */
  private static long shares(Workload work, Memory memory) {
    boolean shared =
        !memory.onGpu()
            && !work.train().gradientCheckpointing()
            && work.train().batch() > 1
            && work.trained() * Device.threads() <= MOST_IN_SHARES;
    return shared ? Device.threads() : 1;
  }

  private static long latent(Workload work) {
    long pixels = (long) work.height() * work.width();
    int factor = work.vae().downsampling();
    return work.vae().latentChannels() * pixels / factor / factor;
  }

  /** The greater of two: the VAE is trained before it encodes. */
  private static Part preparing(Workload work) {
    long encoding = encoding(work);
    long training = work.vaeTrained() ? trainingOfVae(work) : 0;
    return training > encoding
        ? new Part("training of the VAE", training, When.PREPARING)
        : new Part("encoding pictures and captions", encoding, When.PREPARING);
  }

  /** Its gradients, moments and averages, all pictures as bytes, and the maps of a batch. */
  private static long trainingOfVae(Workload work) {
    long pixels = (long) work.height() * work.width();
    long maps = Activations.kept(work.vae(), work.height(), work.width());
    int batch = TrainOptions.DEFAULTS.batch();
    return 16 * work.vaeWeights()
        + 3 * pixels * work.pictures()
        + Math.round(BACKWARD * batch * maps * work.train().computeType().bytes());
  }

  private static long encoding(Workload work) {
    long pixels = Math.max(PIXELS_AT_A_TIME, (long) work.height() * work.width());
    return Math.max(
        4L * MAPS_OF_THE_ENCODER * work.vae().blockOutChannels().get(0) * pixels,
        4L * MAPS_OF_A_LAYER * work.textNumbers() * Math.min(CAPTIONS_AT_A_TIME, work.captions()));
  }

  private static long activations(Workload work, long shares) {
    TrainOptions train = work.train();
    int bytes = train.computeType().bytes();
    int height = work.height() / work.vae().downsampling();
    int width = work.width() / work.vae().downsampling();
    boolean twice = train.gradientCheckpointing();
    long row =
        twice
            ? Activations.recomputed(work.unet(), height, width)
            : Activations.kept(work.unet(), height, width);
    long weights = 0; // as the graph holds them
    if (twice) {
      weights = 4 * COPIES_OF_A_BLOCK * Activations.weightsOfABlock(work.unet());
    } else {
      weights += bytes < 4 ? shares * bytes * work.unetWeights() : 0;
      weights += work.lora().lowRank() ? shares * 4 * work.adaptedWeights() : 0;
    }
    return Math.round((twice ? BACKWARD_AGAIN : BACKWARD) * train.batch() * row * bytes) + weights;
  }
}
