package org.perflow.tensor.optim;

import java.util.LinkedHashMap;
import java.util.Map;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Adam with decoupled weight decay (Loshchilov &amp; Hutter, arXiv 1711.05101), in the order of
 * operations of {@code torch.optim.AdamW}. Not thread-safe. Owns its two moments, which {@link
 * Moments} may keep in fewer bits.
 */
public final class AdamW implements AutoCloseable {
  /** Settings; {@link #DEFAULTS} are PyTorch's betas and eps and the PeRFlow recipe's decay. */
  public record Options(double beta1, double beta2, double eps, double weightDecay) {
    public static final Options DEFAULTS = new Options(0.9, 0.999, 1e-8, 1e-2);

    public Options {
      boolean betas = beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1;
      if (!(betas && eps > 0 && weightDecay >= 0 && Double.isFinite(weightDecay))) {
        throw new IllegalArgumentException(
            "AdamW: betas must lie in [0, 1), eps above 0, weight decay at 0 or above; got "
                + "betas ("
                + beta1
                + ", "
                + beta2
                + "), eps "
                + eps
                + ", weight decay "
                + weightDecay);
      }
    }
  }

  /**
   * Weights updated at a time, so that the eight passes over them find them in the cache (nine
   * times as fast for 9 M weights as all at once), and denominators take no copy of the model.
   */
  private static final long PIECE = 1 << 20;

  private final FlatParameters parameters;
  private final Options options;
  private final Rng rounding = Rng.seeded(0);
  private final Moment average;
  private final Moment squareAverage;
  private long steps;

  /** Starts with empty moments, kept exactly. */
  public AdamW(FlatParameters parameters, Options options) {
    this(parameters, options, Moments.FLOAT32);
  }

  /** Starts with empty moments, kept as said. */
  public AdamW(FlatParameters parameters, Options options, Moments moments) {
    this.parameters = parameters;
    this.options = options;
    Tensor values = parameters.values();
    average =
        switch (moments) {
          case FLOAT32 -> new PlainMoment(DType.F32, values, null);
          case BFLOAT16 -> new PlainMoment(DType.BF16, values, null);
          case INT8 -> new BlockwiseMoment(values, true);
        };
    squareAverage =
        switch (moments) {
          case FLOAT32 -> new PlainMoment(DType.F32, values, null);
          case BFLOAT16 -> new PlainMoment(DType.BF16, values, rounding);
          case INT8 -> new BlockwiseMoment(values, false);
        };
  }

  /** One update with the gradients as they are. */
  public void step(double learningRate) {
    rounding.seed(steps); // so that a run that is resumed goes on as it would have
    steps++;
    double correction1 = 1 - Math.pow(options.beta1(), steps);
    double correction2 = 1 - Math.pow(options.beta2(), steps);
    long total = parameters.values().size(0);
    for (long from = 0; from < total; from += PIECE) {
      long count = Math.min(PIECE, total - from);
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        Tensor gradient = parameters.gradients().narrow(0, from, count);
        Tensor value = parameters.values().narrow(0, from, count);
        Tensor first = average.read(from, count);
        Tensor second = squareAverage.read(from, count);
        value.mulInPlace(1 - learningRate * options.weightDecay());
        first.lerpInPlace(gradient, 1 - options.beta1());
        second.mulInPlace(options.beta2()).addcmulInPlace(gradient, gradient, 1 - options.beta2());
        Tensor denominator = second.sqrt().mulInPlace(1 / Math.sqrt(correction2));
        value.addcdivInPlace(
            first, denominator.addInPlace(options.eps()), -learningRate / correction1);
        average.write(from, first);
        squareAverage.write(from, second);
      }
    }
  }

  /**
   * The moments, for checkpoints: "average" and "square", [total] and laid out as the parameters;
   * of 8 bits "average.codes", "average.scales" and likewise. They stay the optimiser's.
   */
  public Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    average.state().forEach((ending, tensor) -> state.put("average" + ending, tensor));
    squareAverage.state().forEach((ending, tensor) -> state.put("square" + ending, tensor));
    return state;
  }

  /** Updates made. */
  public long steps() {
    return steps;
  }

  /** Goes on after that many updates; the moments are filled by the caller. */
  public void steps(long steps) {
    this.steps = steps;
  }

  @Override
  public void close() {
    average.close();
    squareAverage.close();
    rounding.close();
  }
}
