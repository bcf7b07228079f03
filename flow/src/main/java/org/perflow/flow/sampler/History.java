package org.perflow.flow.sampler;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * What a multistep sampler remembers of the steps before, newest first, outside every scope. It
 * starts afresh at step 0 and wherever a step does not follow the one before (image-to-image begins
 * in the middle).
 */
final class History implements AutoCloseable {
  private final int capacity;
  private final Deque<Tensor> newestFirst = new ArrayDeque<>();
  private int start;
  private int next = -1;

  History(int capacity) {
    this.capacity = capacity;
  }

  /** To be called once, first thing in every step: how many steps this run has behind it. */
  int begin(int index) {
    if (index == 0 || index != next) {
      close();
      start = index;
    }
    next = index + 1;
    return index - start;
  }

  /** Takes {@code tensor}, made within {@code scope}, into possession; the oldest may go. */
  void push(Scope scope, Tensor tensor) {
    newestFirst.addFirst(scope.release(tensor));
    if (newestFirst.size() > capacity) {
      newestFirst.removeLast().close();
    }
  }

  int size() {
    return newestFirst.size();
  }

  /** 0 is the newest. Valid until it is pushed out. */
  Tensor get(int age) {
    return List.copyOf(newestFirst).get(age);
  }

  /** Σ factors[i] × get(i), owned by the caller's scope. */
  Tensor weighted(double... factors) {
    List<Tensor> all = new ArrayList<>(newestFirst);
    Tensor sum = all.get(0).mul(factors[0]);
    for (int i = 1; i < factors.length; i++) {
      sum = sum.add(all.get(i).mul(factors[i]));
    }
    return sum;
  }

  /** Frees everything; a new run may begin. */
  @Override
  public void close() {
    newestFirst.forEach(Tensor::close);
    newestFirst.clear();
  }
}
