package org.perflow.distill.consistency;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.function.Supplier;
import org.perflow.distill.Net;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;

/**
 * The slow copy of a student that its targets come from: an exponential average of what is trained,
 * weights or low-rank factors, which takes the student's place while it is asked. At decay 0 it is
 * the student itself. Owns the averages. One thread.
 */
final class TargetNetwork implements AutoCloseable {
  private final Map<String, Parameter> weights;
  private final double decay;
  private final Map<String, Tensor> averages = new LinkedHashMap<>();
  private final Tensor followed; // [1] int64: the step whose weights went in last

  /** As the student is now. */
  TargetNetwork(Net student, double decay) {
    weights = student.parameters();
    this.decay = decay;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      followed = scope.release(Tensor.of(new long[] {0}));
      if (decay > 0) {
        weights.forEach(
            (name, weight) -> averages.put(name, scope.release(weight.value().detach().copy())));
      }
    }
  }

  /** Moves towards the student, once a step however many micro-batches that has. */
  void follow(long step) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      if (step > followed.toLongArray()[0]) {
        averages.forEach((name, average) -> average.lerpInPlace(weight(name), 1 - decay));
        followed.copyInPlace(Tensor.of(new long[] {step}));
      }
    }
  }

  /** What {@code ask} makes of the student with the averages in it, without gradients. */
  Tensor ask(Supplier<Tensor> ask) {
    swap();
    try (NoGrad guard = NoGrad.enter()) {
      return ask.get();
    } finally {
      swap();
    }
  }

  private void swap() {
    averages.forEach(
        (name, average) -> {
          try (Scope scope = Scope.open();
              NoGrad guard = NoGrad.enter()) {
            Tensor weight = weight(name);
            Tensor own = weight.copy();
            weight.copyInPlace(average);
            average.copyInPlace(own);
          }
        });
  }

  private Tensor weight(String name) {
    return Objects.requireNonNull(weights.get(name)).value();
  }

  /** To be written and restored in place. */
  Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    averages.forEach((name, average) -> state.put("target." + name, average));
    state.put("target.followed", followed);
    return state;
  }

  @Override
  public void close() {
    averages.values().forEach(Tensor::close);
    followed.close();
  }
}
