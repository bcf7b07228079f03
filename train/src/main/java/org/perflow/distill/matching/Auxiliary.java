package org.perflow.distill.matching;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Task;
import org.perflow.tensor.Compute;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tape;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.tensor.optim.AdamW;
import org.perflow.tensor.optim.FlatParameters;
import org.perflow.tensor.optim.LossScale;
import org.perflow.train.DivergedException;
import org.perflow.train.Readings;
import org.perflow.train.TrainOptions;

/**
 * A second network that a method trains beside the student, with an optimiser of its own: a fake
 * score, a discriminator. The objective steps it before it works out the student's loss, and hands
 * {@link #state} to the checkpoints. Gradients that the student's loss leaves here are cleared
 * before they are used. Owns the optimiser; close it before the network. One thread.
 */
public final class Auxiliary implements AutoCloseable {
  private static final double EPSILON = 1e-8;

  private final String name;
  private final FlatParameters weights;
  private final AdamW optimiser;
  private final @Nullable LossScale scale; // in float16
  private final double learningRate;
  private final double clip;
  private final Readings last = new Readings(); // loss and gradient norm
  private final Tensor steps; // [1] int64, so that checkpoints carry it

  /**
   * Takes over {@code parameters}; betas, weight decay and clipping are the run's.
   *
   * @param name of the network, for checkpoints and messages
   * @param learningRate 0 = the student's peak
   * @throws IllegalArgumentException under gradient checkpointing, whose record of a step holds one
   *     backward pass
   */
  public Auxiliary(Task task, String name, Map<String, Parameter> parameters, double learningRate) {
    TrainOptions train = task.train();
    if (train.gradientCheckpointing()) {
      throw new IllegalArgumentException(
          "gradientCheckpointing does not go with methods that train a second network (the "
              + name
              + "): leave it out");
    }
    this.name = name;
    this.learningRate = learningRate == 0 ? train.learningRate() : learningRate;
    clip = train.clip();
    weights = new FlatParameters(parameters);
    optimiser =
        new AdamW(
            weights,
            new AdamW.Options(train.beta1(), train.beta2(), EPSILON, train.weightDecay()),
            train.moments());
    scale = train.compute() == Compute.F16 ? new LossScale() : null;
    try (Scope scope = Scope.open()) {
      steps = scope.release(Tensor.of(new long[] {0}));
    }
  }

  /**
   * One update.
   *
   * @param loss a scalar whose graph must not reach the student; all made meanwhile is freed
   * @throws DivergedException where loss or gradients are not finite: at once on the CPU, elsewhere
   *     by {@link #supervise}
   */
  public void step(Supplier<Tensor> loss) {
    weights.zeroGradients();
    try (Scope scope = Scope.open()) {
      Tensor mean = backward(loss);
      if (scale != null && !scale.unscale(weights)) {
        requireScale(scale);
        return; // its gradients overflowed in float16: the next update has a lower scale
      }
      Tensor norm = weights.clipGradients(clip > 0 ? clip : Double.MAX_VALUE);
      last.set(List.of(mean, norm));
      if (norm.device().isCpu()) {
        supervise();
      }
    }
    long before = steps.toLongArray()[0];
    optimiser.steps(before);
    optimiser.step(learningRate);
    try (Scope scope = Scope.open()) {
      steps.copyInPlace(Tensor.of(new long[] {before + 1}));
    }
  }

  private Tensor backward(Supplier<Tensor> loss) {
    try (Scope scope = Scope.open();
        Tape tape = Tape.record(weights.way())) {
      Tensor mean = loss.get();
      tape.backward(scale == null ? mean : mean.mul(scale.factor()));
      return scope.keep(mean.detach());
    }
  }

  private void requireScale(LossScale now) {
    if (now.isExhausted()) {
      throw new DivergedException(
          "the %s overflows in float16 whatever its loss is multiplied by: use bfloat16 or float32"
              .formatted(name));
    }
  }

  /**
   * Reads loss and gradient norm of the last update.
   *
   * @throws DivergedException where one is not finite
   */
  void supervise() {
    double[] values = last.read();
    for (double value : values) {
      if (!Double.isFinite(value)) {
        throw new DivergedException(
            "the %s has loss %s and gradient norm %s: its learning rate %.3g is too high"
                .formatted(name, values[0], values[1], learningRate));
      }
    }
  }

  /** Weights, moments and the number of updates, to be written and restored in place. */
  public Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put(name + ".weights", weights.values());
    optimiser.state().forEach((moment, tensor) -> state.put(name + ".adam." + moment, tensor));
    state.put(name + ".steps", steps);
    if (scale != null) {
      state.put(name + ".loss_scale", scale.state());
    }
    return state;
  }

  @Override
  public void close() {
    last.close();
    steps.close();
    if (scale != null) {
      scale.close();
    }
    optimiser.close();
    weights.close();
  }
}
