package org.perflow.train;

import java.util.Map;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;

/**
 * A little regression whose inputs come from the step's generator and from the example's number.
 */
public final class Line implements Objective, AutoCloseable {
  private static final class Net extends Module {
    private final Linear first = child("first", new Linear(3, 16));
    private final Linear second = child("second", new Linear(16, 1));

    Tensor forward(Tensor x) {
      return second.forward(Functional.silu(first.forward(x)));
    }
  }

  final Net net = new Net();
  private final Tensor memory; // [1], mean input of the steps so far: a checkpoint must carry it
  long divergesAt = Long.MAX_VALUE;

  public Line() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(1)) {
      net.initialise(rng, DType.F32);
      memory = scope.release(Tensor.zeros(DType.F32, 1));
    }
  }

  @Override
  public Map<String, Parameter> parameters() {
    return net.namedParameters();
  }

  @Override
  public Map<String, Tensor> state() {
    return Map.of("memory", memory);
  }

  @Override
  public int examples() {
    return 10;
  }

  @Override
  public Tensor loss(Step step) {
    int rows = step.examples().length;
    Tensor number = Tensor.of(step.examples(), rows, 1).to(DType.F32).mul(0.1);
    Tensor x = Tensor.cat(1, Tensor.randn(step.rng(), rows, 2), number); // [B, 3]
    memory.lerpInPlace(x.mean().reshape(1), 0.1);
    Tensor wanted = x.narrow(1, 0, 1).add(number).add(memory);
    Tensor loss = net.forward(x).sub(wanted).square().mean();
    return step.number() >= divergesAt ? loss.div(0.0).sub(loss.div(0.0)) : loss;
  }

  @Override
  public void close() {
    net.close();
    memory.close();
  }
}
