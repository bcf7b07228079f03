package org.perflow.io;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * A tensor that is read when it is needed, and what becomes of it then: element type and shape are
 * known, the elements still on disk. Immutable; as thread-safe as what it reads from.
 */
public final class LazyTensor {
  private final DType dtype;
  private final long[] shape;
  private final TypedReader reader;

  /** Fetches the elements. */
  @FunctionalInterface
  public interface Reader {
    /** A new tensor of the declared type and shape, owned by the scope of the caller. */
    Tensor read() throws IOException;
  }

  /** Fetches the elements in the type that is asked for, as files do that convert as they read. */
  @FunctionalInterface
  public interface TypedReader {
    /** A new tensor of the declared shape, of type {@code as}, owned by the scope of the caller. */
    Tensor read(DType as) throws IOException;
  }

  /** One that {@code reader} makes. */
  public LazyTensor(DType dtype, long[] shape, Reader reader) {
    this(dtype, shape, as -> reader.read().to(as));
  }

  /** One that {@code reader} makes. */
  public LazyTensor(DType dtype, long[] shape, TypedReader reader) {
    this.dtype = dtype;
    this.shape = shape.clone();
    this.reader = reader;
  }

  /** A tensor in memory, which stays its owner's and must live as long as this. */
  public static LazyTensor of(Tensor tensor) {
    return new LazyTensor(tensor.dtype(), tensor.shape(), tensor::detach);
  }

  /** A tensor of {@code source}, which must stay open. */
  public static LazyTensor of(NamedTensors source, String name) {
    NamedTensors.Entry entry = source.entry(name);
    return new LazyTensor(entry.dtype(), entry.shape(), as -> source.read(name, as));
  }

  /** Element type as stored. */
  public DType dtype() {
    return dtype;
  }

  /** Its sizes. */
  public long[] shape() {
    return shape.clone();
  }

  /** The same elements, row-major, in another shape. */
  public LazyTensor reshape(long... other) {
    if (product(other) != product(shape)) {
      throw new IllegalArgumentException(
          "cannot reshape " + Arrays.toString(shape) + " to " + Arrays.toString(other));
    }
    return new LazyTensor(dtype, other, as -> reader.read(as).reshape(other));
  }

  /** Rows and columns of a matrix exchanged. */
  public LazyTensor transposed() {
    if (shape.length != 2) {
      throw new IllegalArgumentException(
          "cannot transpose " + Arrays.toString(shape) + ", expected a matrix");
    }
    long[] swapped = {shape[1], shape[0]};
    return new LazyTensor(dtype, swapped, as -> reader.read(as).transpose(0, 1).contiguous());
  }

  /** Part {@code index} of {@code count} equal parts along the first dimension. */
  public LazyTensor part(int index, int count) {
    if (shape.length == 0 || shape[0] % count != 0) {
      throw new IllegalArgumentException(
          "cannot split " + Arrays.toString(shape) + " into " + count + " equal parts");
    }
    long[] smaller = shape.clone();
    smaller[0] /= count;
    // A copy, as a view would keep the memory of the whole.
    return new LazyTensor(
        dtype, smaller, as -> reader.read(as).narrow(0, index * smaller[0], smaller[0]).copy());
  }

  /** Several of one type, equal in all but the first dimension, along which they are joined. */
  public static LazyTensor joined(List<LazyTensor> parts) {
    long[] larger = parts.get(0).shape();
    larger[0] = parts.stream().mapToLong(part -> part.shape[0]).sum();
    return new LazyTensor(
        parts.get(0).dtype,
        larger,
        as -> {
          Tensor[] read = new Tensor[parts.size()];
          for (int i = 0; i < read.length; i++) {
            read[i] = parts.get(i).reader.read(as);
          }
          return Tensor.cat(0, read);
        });
  }

  /** Reads it, converted to {@code as}, into the scope of the caller. */
  public Tensor read(DType as) throws IOException {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return scope.keep(reader.read(as));
    }
  }

  private static long product(long[] sizes) {
    long product = 1;
    for (long size : sizes) {
      product *= size;
    }
    return product;
  }
}
