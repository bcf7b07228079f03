package org.perflow.train;

import java.util.List;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Numbers that a step left on its device, until somebody reads them: a GPU goes on working while
 * nobody does. On the CPU they are read at once, where that costs nothing and a run that diverges
 * ends before its weights change; elsewhere at the log interval and before each checkpoint. Owns
 * its tensors. One thread.
 */
public final class Readings implements AutoCloseable {
  private List<Tensor> scalars = List.of();

  /** Takes copies of those scalars in the place of the ones before. */
  public void set(List<Tensor> latest) {
    close();
    try (Scope scope = Scope.open()) {
      scalars = latest.stream().map(scalar -> scope.release(scalar.detach().copy())).toList();
    }
  }

  /** Their values, which waits for the device; none where none were set. */
  public double[] read() {
    return scalars.stream().mapToDouble(Tensor::item).toArray();
  }

  @Override
  public void close() {
    scalars.forEach(Tensor::close);
    scalars = List.of();
  }
}
