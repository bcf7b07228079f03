package org.perflow.io;

import java.io.Closeable;
import java.io.IOException;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;

/** Tensors of one or several sources under names of its own, perhaps in other shapes. */
public final class TensorView implements NamedTensors {
  private final String description;
  private final Map<String, LazyTensor> tensors;
  private final Map<String, Entry> entries;
  private final Map<String, String> metadata;
  private final Closeable source;

  /**
   * Shows {@code tensors}.
   *
   * @param description names the source in messages
   * @param source closed with the view; {@code () -> {}} where it is somebody else's
   */
  public TensorView(
      String description,
      Map<String, LazyTensor> tensors,
      Map<String, String> metadata,
      Closeable source) {
    this.description = description;
    this.tensors = new LinkedHashMap<>(tensors);
    this.metadata = Map.copyOf(metadata);
    this.source = source;
    Map<String, Entry> listed = new LinkedHashMap<>();
    tensors.forEach(
        (name, tensor) -> listed.put(name, new Entry(name, tensor.dtype(), tensor.shape())));
    this.entries = Collections.unmodifiableMap(listed);
  }

  /** All tensors of {@code source} under new names; closing the view closes the source. */
  public static TensorView renamed(NamedTensors source, UnaryOperator<String> rename) {
    Map<String, LazyTensor> tensors = new LinkedHashMap<>();
    for (String name : source.entries().keySet()) {
      tensors.put(rename.apply(name), LazyTensor.of(source, name));
    }
    return new TensorView(source.toString(), tensors, source.metadata(), source);
  }

  @Override
  public Map<String, Entry> entries() {
    return entries;
  }

  @Override
  public Map<String, String> metadata() {
    return metadata;
  }

  @Override
  public Tensor read(String name, DType as) throws IOException {
    LazyTensor tensor = tensors.get(entry(name).name());
    if (tensor == null) {
      throw new IllegalStateException("entries and tensors differ on " + name);
    }
    return tensor.read(as);
  }

  /** The tensors, unread. */
  public Map<String, LazyTensor> tensors() {
    return Collections.unmodifiableMap(tensors);
  }

  @Override
  public void close() throws IOException {
    source.close();
  }

  @Override
  public String toString() {
    return description;
  }
}
