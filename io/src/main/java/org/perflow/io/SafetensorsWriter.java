package org.perflow.io;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Writes safetensors files, byte for byte as the Python library does: ordered by element type, then
 * by name, so that every tensor is aligned.
 */
public final class SafetensorsWriter {
  private static final int CHUNK = 1 << 20;

  /** The Python library's order of element types. */
  private static final List<DType> ORDER =
      List.of(
          DType.I64,
          DType.F64,
          DType.F32,
          DType.I32,
          DType.BF16,
          DType.F16,
          DType.I16,
          DType.I8,
          DType.U8,
          DType.BOOL);

  private SafetensorsWriter() {}

  /**
   * Writes {@code tensors}, each in its own element type, atomically. They are only read; {@code
   * metadata} goes into the header.
   *
   * @throws IOException naming the file, whose old content then stays
   */
  public static void write(Path file, Map<String, Tensor> tensors, Map<String, String> metadata)
      throws IOException {
    write(file, lazy(tensors), type -> type, metadata);
  }

  /** The same with floating tensors converted to {@code floats}, one at a time. */
  public static void write(
      Path file, Map<String, Tensor> tensors, DType floats, Map<String, String> metadata)
      throws IOException {
    write(file, lazy(tensors), type -> type.isFloating() ? floats : type, metadata);
  }

  private static Map<String, LazyTensor> lazy(Map<String, Tensor> tensors) {
    Map<String, LazyTensor> lazy = new LinkedHashMap<>();
    tensors.forEach((name, tensor) -> lazy.put(name, LazyTensor.of(tensor)));
    return lazy;
  }

  /**
   * The same with tensors that are read one at a time, so that a file larger than the memory can be
   * rewritten.
   *
   * @param stored element type in the file of each element type of the tensors
   */
  public static void write(
      Path file,
      Map<String, LazyTensor> tensors,
      UnaryOperator<DType> stored,
      Map<String, String> metadata)
      throws IOException {
    if (tensors.containsKey(SafetensorsHeader.METADATA)) {
      throw new IllegalArgumentException("no tensor may be called " + SafetensorsHeader.METADATA);
    }
    Comparator<String> byType =
        Comparator.comparingInt(name -> ORDER.indexOf(stored.apply(of(tensors, name).dtype())));
    List<String> order =
        tensors.keySet().stream().sorted(byType.thenComparing(Comparator.naturalOrder())).toList();
    byte[] header = header(order, tensors, stored, metadata);
    AtomicFiles.write(
        file,
        out -> {
          out.write(header);
          byte[] chunk = new byte[CHUNK];
          for (String name : order) {
            LazyTensor tensor = of(tensors, name);
            copy(tensor, stored.apply(tensor.dtype()), chunk, out);
          }
        });
  }

  /** Length and JSON; spaces at the end keep the data aligned to eight bytes. */
  private static byte[] header(
      List<String> order,
      Map<String, LazyTensor> tensors,
      UnaryOperator<DType> stored,
      Map<String, String> metadata)
      throws IOException {
    ObjectNode root = JsonNodeFactory.instance.objectNode();
    if (!metadata.isEmpty()) {
      ObjectNode strings = root.putObject(SafetensorsHeader.METADATA);
      new TreeMap<>(metadata).forEach(strings::put);
    }
    long position = 0;
    for (String name : order) {
      LazyTensor tensor = of(tensors, name);
      DType type = stored.apply(tensor.dtype());
      ObjectNode entry = root.putObject(name).put("dtype", type.safetensorsName());
      var shape = entry.putArray("shape");
      long numel = 1;
      for (long size : tensor.shape()) {
        shape.add(size);
        numel *= size;
      }
      long end = position + numel * type.bytes();
      entry.putArray("data_offsets").add(position).add(end);
      position = end;
    }
    byte[] text = root.toString().getBytes(StandardCharsets.UTF_8);
    int padded = (text.length + 7) / 8 * 8;
    if (padded > SafetensorsFile.MAX_HEADER) {
      throw new IOException("a safetensors header of " + padded + " bytes: store less metadata");
    }
    ByteBuffer header = ByteBuffer.allocate(8 + padded).order(ByteOrder.LITTLE_ENDIAN);
    header.putLong(padded).put(text);
    while (header.hasRemaining()) {
      header.put((byte) ' ');
    }
    return header.array();
  }

  private static void copy(LazyTensor tensor, DType type, byte[] chunk, OutputStream out)
      throws IOException {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor plain = tensor.read(type).to(Device.CPU).contiguous();
      if (!Arrays.equals(plain.shape(), tensor.shape())) { // the header has promised it
        throw new IllegalStateException(
            "a tensor was announced as %s and is %s"
                .formatted(Arrays.toString(tensor.shape()), Arrays.toString(plain.shape())));
      }
      long length = plain.numel() * type.bytes();
      for (long done = 0; done < length; done += chunk.length) {
        int count = (int) Math.min(chunk.length, length - done);
        plain.bytes(done, count).get(chunk, 0, count);
        out.write(chunk, 0, count);
      }
    }
  }

  private static LazyTensor of(Map<String, LazyTensor> tensors, String name) {
    LazyTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new IllegalArgumentException("no tensor given for '" + name + "'");
    }
    return tensor;
  }
}
