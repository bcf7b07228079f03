package org.perflow.tensor.optim;

import java.util.Map;
import org.perflow.tensor.Tensor;

/**
 * One average of the gradients, kept in pieces that are read, changed and written. Owns its memory.
 */
interface Moment extends AutoCloseable {
  /** Elements {@code from} to {@code from + count}, float32, in the caller's scope. */
  Tensor read(long from, long count);

  /** Takes over what became of a piece that was read, float32. */
  void write(long from, Tensor piece);

  /** All there is of it by the ending of a name, for checkpoints; the tensors stay its own. */
  Map<String, Tensor> state();

  @Override
  void close();
}
