package org.perflow.io;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Pickle.Foreign;
import org.perflow.tensor.DType;

/**
 * What the pickles of one torch file make: tensors, their storages and ordered dictionaries. What
 * else they call gives stand-ins, as nothing is run. One thread.
 */
final class TorchTensors implements Pickle.Builder {
  private static final Map<String, DType> STORAGES =
      Map.of(
          "DoubleStorage", DType.F64,
          "FloatStorage", DType.F32,
          "HalfStorage", DType.F16,
          "BFloat16Storage", DType.BF16,
          "LongStorage", DType.I64,
          "IntStorage", DType.I32,
          "ShortStorage", DType.I16,
          "CharStorage", DType.I8,
          "ByteStorage", DType.U8,
          "BoolStorage", DType.BOOL);

  /**
   * Names by which a pickle would run code if it were loaded in Python, most of those that scanners
   * look for (https://github.com/mmaitre314/picklescan): weights have no use for them. All other
   * names are harmless here, where nothing is called.
   */
  private static final Pattern RUNS_CODE =
      Pattern.compile(
          "(os|posix|nt|posixpath|ntpath|sys|subprocess|shutil|socket|pty|commands|popen2|importlib|imp"
              + "|runpy|code|codeop|ctypes|_?pickle|cPickle|dill|dill\\._dill|cloudpickle|marshal|shelve"
              + "|webbrowser|asyncio|signal|httplib|urllib2?|urllib\\.request|http\\.client|requests"
              + "|requests\\.api|aiohttp|aiohttp\\.client|ftplib|smtplib|pip|ensurepip|venv|pdb|bdb|pydoc"
              + "|cProfile|profile|timeit|trace|operator|_operator|torch\\.hub|torch\\.serialization"
              + "|torch\\.package|torch\\.jit)\\.\\w+"
              + "|(builtins|__builtin__)\\.(?!(set|frozenset|list|dict|tuple|int|long|float|complex|bool"
              + "|str|unicode|bytes|bytearray|object|slice|range|xrange)$).*"
              + "|torch\\.load|numpy\\.load|types\\.(Code|Function)Type"
              + "|.*\\.(system|popen|exec|exec[lv]\\w*|execWrapper|eval|spawn[lv]\\w*)");

  private static final int MAX_TEXT = 200;
  private static final long MOST_REPEATED = 1000; // how often a tensor may repeat its elements

  private final Path file;
  private final Map<String, StoredTensor.Storage> storages = new HashMap<>();

  TorchTensors(Path file) {
    this.file = file;
  }

  /**
   * Reads one pickle from the position of {@code bytes}; the message of an error names the file.
   */
  @Nullable Object read(ByteBuffer bytes) throws FormatException {
    try {
      return Pickle.read(bytes, this);
    } catch (FormatException e) {
      throw new FormatException(file + ": " + e.getMessage(), e);
    }
  }

  /** The weights in what {@link #read} gave. */
  StateDict weights(@Nullable Object value) throws FormatException {
    try {
      return StateDict.in(value);
    } catch (FormatException e) {
      throw new FormatException(file + ": " + e.getMessage(), e);
    }
  }

  /** The short texts right in what {@link #read} gave, such as the name of an embedding. */
  static Map<String, String> strings(@Nullable Object value) {
    Map<String, String> strings = new LinkedHashMap<>();
    if (value instanceof Map<?, ?> map) {
      map.forEach(
          (key, item) -> {
            if (item instanceof String text && text.length() <= MAX_TEXT) {
              strings.put((String) key, text);
            }
          });
    }
    return strings;
  }

  /** The storage of that key; null where no pickle read so far refers to it. */
  StoredTensor.@Nullable Storage storage(Object key) {
    return key instanceof String text ? storages.get(text) : null;
  }

  // ---------------------------------------------------------------- what a pickle may ask for

  @Override
  public boolean allows(Pickle.Global global) {
    return !RUNS_CODE.matcher(global.toString()).matches();
  }

  @Override
  public Object call(Pickle.Global global, List<?> arguments) throws FormatException {
    return switch (global.toString()) {
      case "collections.OrderedDict" -> dictionary(arguments);
      case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state" ->
          arguments.stream().findFirst().filter(Foreign.class::isInstance).isPresent()
              ? arguments.get(0)
              : argument(arguments, 0, StoredTensor.class);
      case "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor" -> tensor(arguments);
      default -> new Foreign(global);
    };
  }

  /** ("storage", type, key, device, number of elements, ...). */
  @Override
  public Object persistent(@Nullable Object id) throws FormatException {
    if (!(id instanceof List<?> parts) || !argument(parts, 0, String.class).equals("storage")) {
      throw new FormatException("its pickle refers to something that is no storage");
    }
    Pickle.Global type = argument(parts, 1, Pickle.Global.class);
    String key = argument(parts, 2, String.class);
    DType dtype = STORAGES.get(type.name());
    long numel = argument(parts, 4, Long.class);
    if (dtype == null || numel < 0 || numel > Long.MAX_VALUE / 8) {
      throw new FormatException(
          "its pickle has a storage of %d elements of %s; known are %s"
              .formatted(numel, type, new TreeSet<>(STORAGES.keySet())));
    }
    StoredTensor.Storage storage = new StoredTensor.Storage(key, dtype, numel);
    storages.put(key, storage);
    return storage;
  }

  private static Map<String, Object> dictionary(List<?> arguments) {
    Map<String, Object> map = new LinkedHashMap<>();
    if (!arguments.isEmpty() && arguments.get(0) instanceof List<?> pairs) { // by Python 2
      for (Object item : pairs) {
        if (item instanceof List<?> pair && pair.size() == 2 && pair.get(0) instanceof String key) {
          map.put(key, pair.get(1));
        }
      }
    }
    return map;
  }

  /** (storage, offset, size, stride, ...). Everything is checked, as libtorch reads that memory. */
  private static StoredTensor tensor(List<?> arguments) throws FormatException {
    StoredTensor.Storage storage = argument(arguments, 0, StoredTensor.Storage.class);
    long offset = argument(arguments, 1, Long.class);
    long[] shape = longs(argument(arguments, 2, List.class));
    long[] strides = longs(argument(arguments, 3, List.class));
    long span = 1;
    try {
      for (int i = 0; i < shape.length; i++) {
        if (shape[i] < 0 || strides[i] < 0) {
          throw new ArithmeticException("negative");
        }
        span = Math.addExact(span, Math.multiplyExact(shape[i] - 1, strides[i]));
      }
      long numel = 1;
      for (long size : shape) {
        span = size == 0 ? 0 : span;
        numel = Math.multiplyExact(numel, size);
      }
      if (numel > MOST_REPEATED * Math.max(storage.numel(), MOST_REPEATED)) { // by strides of 0
        throw new ArithmeticException("unfolds");
      }
      if (offset < 0
          || shape.length > NamedTensors.MAX_DIMENSIONS
          || shape.length != strides.length
          || span > storage.numel() - offset) {
        throw new ArithmeticException("outside");
      }
    } catch (ArithmeticException | IndexOutOfBoundsException e) {
      throw new FormatException(
          "its pickle has a tensor of shape %s, strides %s at %d in a storage of %d elements"
              .formatted(Arrays.toString(shape), Arrays.toString(strides), offset, storage.numel()),
          e);
    }
    return new StoredTensor(storage, offset, span, shape, strides);
  }

  private static long[] longs(List<?> list) throws FormatException {
    long[] values = new long[Math.min(list.size(), NamedTensors.MAX_DIMENSIONS + 1)];
    for (int i = 0; i < values.length; i++) {
      values[i] = argument(list, i, Long.class);
    }
    return values;
  }

  private static <T> T argument(List<?> arguments, int index, Class<T> type)
      throws FormatException {
    if (index >= arguments.size() || !type.isInstance(arguments.get(index))) {
      throw new FormatException(
          "its pickle calls a function with other arguments than torch does: it is damaged");
    }
    return type.cast(arguments.get(index));
  }
}
