package org.perflow.io;

import java.io.Closeable;
import java.io.IOException;
import java.util.Map;
import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;

/**
 * Tensors by name, each read from disk when it is asked for: a file in any of the formats that
 * {@link WeightFiles#open} knows, or a {@link TensorView} of others. {@code toString} names the
 * file. Thread-safe; once closed it can no longer be read.
 */
public interface NamedTensors extends Closeable {
  /** No file's tensor has more; PyTorch's arithmetic stops there. */
  int MAX_DIMENSIONS = 64;

  /** What is known of a tensor before it is read. */
  @SuppressWarnings("ArrayRecordComponent") // a shape is an array everywhere in this project
  record Entry(String name, DType dtype, long[] shape) {
    /** Number of elements. */
    public long numel() {
      long count = 1;
      for (long size : shape) {
        count *= size;
      }
      return count;
    }
  }

  /** All tensors by name, in the order of the file. */
  Map<String, Entry> entries();

  /** The free strings that came with them; empty where there are none. */
  Map<String, String> metadata();

  /**
   * A tensor converted to {@code as}, owned by the scope of the caller (outside all, by the
   * caller). Needs no more memory than that tensor as stored and as converted.
   *
   * @throws IllegalArgumentException where there is no tensor of that name
   */
  Tensor read(String name, DType as) throws IOException;

  /** A tensor as it is stored, owned by the scope of the caller. */
  default Tensor read(String name) throws IOException {
    return read(name, entry(name).dtype());
  }

  /**
   * What is known of one tensor.
   *
   * @throws IllegalArgumentException where there is no tensor of that name
   */
  default Entry entry(String name) {
    Entry entry = entries().get(name);
    if (entry == null) {
      throw new IllegalArgumentException(
          this + " holds no tensor '" + name + "'; it holds " + entries().size() + " others");
    }
    return entry;
  }
}
