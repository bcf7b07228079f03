package org.perflow.evaluate;

import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.optim.AdamW;
import org.perflow.tensor.optim.FlatParameters;

/**
 * Trains a {@link FeatureNetwork} to tell concepts apart of which it has one picture each, so that
 * all variety comes from augmentation: shift, stretch, blur, colour and noise. Uses one thread of
 * its caller; the random draws depend on the seed alone.
 */
public final class FeatureTraining {
  /** Settings of a run; the learning rate warms up over 100 steps and decays as a cosine. */
  public record Options(
      int steps, int batch, double learningRate, double weightDecay, long seed, Compute compute) {
    /** Those of models/emoji-features, which took 8 minutes on one core. */
    public static final Options DEFAULTS = new Options(3000, 64, 3e-3, 0.02, 0, Compute.AUTO);

    public Options {
      if (steps < 1 || batch < 1 || !(learningRate > 0) || weightDecay < 0) {
        throw new IllegalArgumentException(
            "feature training needs steps and batch of 1 or more and a learning rate above 0; got "
                + steps
                + ", "
                + batch
                + ", "
                + learningRate);
      }
    }
  }

  /** Told after every step. */
  public interface Listener {
    void onStep(int step, double loss);
  }

  private FeatureTraining() {}

  /**
   * Trains {@code network}, already initialised, on pictures uint8 [N, 3, S, S], of which picture i
   * is concept i.
   */
  public static void train(
      FeatureNetwork network, Tensor pictures, Options options, Listener listener) {
    long count = pictures.size(0);
    if (pictures.dtype() != DType.U8 || count != network.config().numConcepts()) {
      throw new IllegalArgumentException(
          "got pictures "
              + pictures
              + "; expected uint8, one for each of "
              + network.config().numConcepts()
              + " concepts");
    }
    AdamW.Options adam = new AdamW.Options(0.9, 0.99, 1e-8, options.weightDecay());
    try (FlatParameters parameters = new FlatParameters(network.namedParameters());
        AdamW optimiser = new AdamW(parameters, adam);
        Rng rng = Rng.seeded(options.seed())) {
      for (int step = 0; step < options.steps(); step++) {
        try (Scope scope = Scope.open()) {
          Tensor concepts = Tensor.randint(rng, count, options.batch());
          Tensor views =
              augment(pictures.indexSelect(0, concepts), rng).to(options.compute().dtype());
          parameters.zeroGradients();
          Tensor loss = crossEntropy(network.classify(network.features(views)), concepts);
          loss.backward();
          parameters.clipGradients(1);
          optimiser.step(learningRate(options, step));
          listener.onStep(step, loss.item());
        }
      }
      moveOut(network); // the weights outlive the flat buffer
    }
  }

  /** Share of concepts named rightly over {@code rounds} fresh augmentations of every picture. */
  public static double accuracy(FeatureNetwork network, Tensor pictures, int rounds, long seed) {
    long count = pictures.size(0);
    long right = 0;
    try (Rng rng = Rng.seeded(seed);
        NoGrad guard = NoGrad.enter()) {
      for (int round = 0; round < rounds; round++) {
        for (long from = 0; from < count; from += 64) {
          try (Scope scope = Scope.open()) {
            Tensor views = augment(pictures.narrow(0, from, Math.min(64, count - from)), rng);
            long[] best = network.classify(network.features(views)).argmax(1).toLongArray();
            for (int i = 0; i < best.length; i++) {
              right += best[i] == from + i ? 1 : 0;
            }
          }
        }
      }
    }
    return (double) right / (rounds * count);
  }

  private static double learningRate(Options options, int step) {
    double warm = Math.min(1, (step + 1) / 100.0);
    return options.learningRate()
        * warm
        * 0.5
        * (1 + Math.cos(Math.PI * step / Math.max(1, options.steps())));
  }

  /** Mean of -log softmax at the right concept; scores [B, C], concepts int64 [B]. */
  static Tensor crossEntropy(Tensor scores, Tensor concepts) {
    Tensor index = Tensor.arange(scores.size(1)).unsqueeze(0); // [1, C]
    Tensor right = index.sub(concepts.unsqueeze(1)).eq(0).to(DType.F32); // [B, C]
    Tensor probability = scores.to(DType.F32).softmax(-1).mul(right).sum(1); // [B]
    return probability.add(1e-12).log().mean().neg();
  }

  /**
   * Views of uint8 pictures [B, 3, S, S] as float32 in about [-1, 1]. They are held as distance
   * from white, so that what a shift brings in is white, as the pictures' ground.
   */
  static Tensor augment(Tensor pictures, Rng rng) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      long batch = pictures.size(0);
      Tensor ink = pictures.to(DType.F32).div(-255).add(1); // 0 white ... 1 black
      Tensor blur = uniform(rng, 0, 1, batch).square().mul(1.5); // [B] pixels, mostly sharp
      Tensor zoom = uniform(rng, 0.8, 1.15, batch);
      Tensor rows = resampling(ink.size(2), zoom.mul(uniform(rng, 0.9, 1.1, batch)), blur, rng);
      Tensor columns = resampling(ink.size(3), zoom, blur, rng);
      ink = rows.matmul(ink).matmul(columns.transpose(-2, -1));
      ink = ink.mul(uniform(rng, 0.8, 1.2, batch, 3, 1, 1)); // colour
      ink = ink.add(Tensor.randn(rng, batch, 3, 1, 1).mul(0.02)); // tint
      Tensor noise = uniform(rng, 0, 1, batch, 1, 1, 1).square().mul(0.12);
      ink = ink.add(Tensor.randn(rng, ink.shape()).mul(noise));
      return scope.keep(ink.mul(-2).add(1));
    }
  }

  /**
   * Matrices [B, 1, S, S] that stretch one axis by {@code zoom} [B] about the middle, shift it by
   * up to 5 pixels and blur it: row i holds a tent over source pixels, 1 + blur wide.
   */
  private static Tensor resampling(long size, Tensor zoom, Tensor blur, Rng rng) {
    long batch = zoom.size(0);
    double middle = (size - 1) / 2.0;
    Tensor pixels = Tensor.arange(size).to(DType.F32);
    Tensor shift = uniform(rng, -5, 5, batch, 1);
    Tensor source = pixels.sub(middle).unsqueeze(0).div(zoom.unsqueeze(1)).add(middle).sub(shift);
    Tensor width = zoom.pow(-1).maximum(Tensor.full(1, 1)).add(blur).reshape(batch, 1, 1);
    Tensor distance = source.unsqueeze(2).sub(pixels.reshape(1, 1, size)).abs(); // [B, S, S]
    return distance.div(width).neg().add(1).relu().div(width).unsqueeze(1);
  }

  private static Tensor uniform(Rng rng, double low, double high, long... shape) {
    return Tensor.rand(rng, shape).mul(high - low).add(low);
  }

  private static void moveOut(FeatureNetwork network) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      network
          .namedParameters()
          .values()
          .forEach(p -> p.value(scope.release(p.value().detach().copy())));
    }
  }
}
