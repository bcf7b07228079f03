package org.perflow.io;

import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipFile;
import org.jspecify.annotations.Nullable;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * A file that {@code torch.save} wrote ({@code .bin}, {@code .ckpt}, {@code .pt}): a pickle with
 * the storages of its tensors in a zip, or, before PyTorch 1.6, behind each other. Nothing of a
 * pickle is run: objects of other classes than tensors stay unread, and one that asks for what runs
 * code is refused. Which of its dictionaries is read, {@link StateDict} says.
 */
final class TorchFile {
  /** How files of before PyTorch 1.6 begin: a pickled magic number. */
  static final String LEGACY_MAGIC = "\u0080\2\u008a\n";

  private static final int MAX_PICKLE = 100_000_000; // as for the header of a safetensors file
  private static final long SMALL = 64 << 20; // bytes that a storage may unfold to from nothing
  private static final long MOST_UNFOLDED = 100; // times, beyond that
  private static final int CHUNK = 1 << 16; // of Java's heap, anew for every tensor

  private TorchFile() {}

  /** Where the bytes of storages are. */
  private interface Storages {
    /** The bytes of {@code storage}, from the first; the caller closes it. */
    InputStream open(StoredTensor.Storage storage) throws IOException;
  }

  /** Opens {@code file}; the caller closes the result. */
  static NamedTensors open(Path file) throws IOException {
    FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
    try {
      ByteBuffer magic = ByteBuffer.allocate(1);
      channel.read(magic, 0);
      if (magic.get(0) == 'P') {
        channel.close();
        return zip(file);
      }
      return legacy(file, channel);
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  // ---------------------------------------------------------------- since PyTorch 1.6

  private static NamedTensors zip(Path file) throws IOException {
    ZipFile zip;
    try {
      zip = new ZipFile(file.toFile());
    } catch (ZipException e) {
      throw new FormatException(
          file + ": a damaged zip (" + e.getMessage() + "); copy or download it again", e);
    }
    try {
      ZipEntry pickle =
          zip.stream()
              .filter(entry -> entry.getName().matches("([^/]+/)?data\\.pkl"))
              .findFirst()
              .orElseThrow(
                  () -> new FormatException(file + ": a zip without data.pkl, so not by torch"));
      String root = pickle.getName().replace("data.pkl", "");
      ZipEntry order = zip.getEntry(root + "byteorder");
      if (order != null && !"little".equals(text(file, zip, order))) {
        throw new FormatException(file + ": written on a big-endian machine, which is not read");
      }
      TorchTensors pickles = new TorchTensors(file);
      Object value = pickles.read(ByteBuffer.wrap(head(file, zip, pickle)));
      return view(
          file,
          pickles.weights(value),
          TorchTensors.strings(value),
          storage -> zipped(file, zip, root, storage),
          zip);
    } catch (IOException | RuntimeException e) {
      zip.close();
      throw e;
    }
  }

  private static byte[] head(Path file, ZipFile zip, ZipEntry entry) throws IOException {
    try (InputStream in = zip.getInputStream(entry)) {
      return in.readNBytes(MAX_PICKLE); // a longer one ends too early, and says so
    } catch (EOFException | ZipException e) {
      throw damaged(file, e);
    }
  }

  private static FormatException damaged(Path file, IOException e) {
    return new FormatException(
        file + ": damaged (" + e.getMessage() + "); copy or download it again", e);
  }

  private static String text(Path file, ZipFile zip, ZipEntry entry) throws IOException {
    return new String(head(file, zip, entry), StandardCharsets.US_ASCII).strip();
  }

  private static InputStream zipped(
      Path file, ZipFile zip, String root, StoredTensor.Storage storage) throws IOException {
    ZipEntry entry = zip.getEntry(root + "data/" + storage.key());
    if (entry == null || entry.getSize() < storage.bytes()) {
      throw new FormatException(
          "%s: storage '%s' should hold %d bytes, the zip has %s; copy or download it again"
              .formatted(
                  file, storage.key(), storage.bytes(), entry == null ? "none" : entry.getSize()));
    }
    // torch compresses nothing; who packs a file anew may, and zeros unfold a thousandfold
    if (entry.getSize() - SMALL > MOST_UNFOLDED * entry.getCompressedSize()) {
      throw new FormatException(
          "%s: storage '%s' unfolds from %,d to %,d bytes, which no weights do"
              .formatted(file, storage.key(), entry.getCompressedSize(), entry.getSize()));
    }
    return zip.getInputStream(entry);
  }

  // ---------------------------------------------------------------- before PyTorch 1.6

  /** Five pickles (magic number, version, system, content, storage keys), then the storages. */
  private static NamedTensors legacy(Path file, FileChannel channel) throws IOException {
    long length = Math.min(channel.size(), MAX_PICKLE);
    ByteBuffer bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, length);
    TorchTensors pickles = new TorchTensors(file);
    for (int i = 0; i < 3; i++) {
      pickles.read(bytes);
    }
    Object value = pickles.read(bytes);
    if (!(pickles.read(bytes) instanceof List<?> keys)) {
      throw new FormatException(file + ": its fifth pickle is no list of storages");
    }
    Map<String, Long> starts = new HashMap<>();
    long position = bytes.position();
    for (Object key : keys) {
      StoredTensor.Storage storage = pickles.storage(key);
      ByteBuffer count = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      channel.read(count, position);
      if (storage == null || count.getLong(0) != storage.numel()) {
        throw new FormatException(
            "%s: damaged at byte %d, where a storage begins; copy or download it again"
                .formatted(file, position));
      }
      starts.put(storage.key(), position + Long.BYTES);
      position += Long.BYTES + storage.bytes();
    }
    if (position > channel.size()) {
      throw new FormatException(
          "%s: it is truncated: expected %d bytes, got %d; copy or download it again"
              .formatted(file, position, channel.size()));
    }
    return view(
        file,
        pickles.weights(value),
        TorchTensors.strings(value),
        storage -> at(file, starts.get(storage.key())),
        channel);
  }

  private static InputStream at(Path file, @Nullable Long start) throws IOException {
    if (start == null) {
      throw new FormatException(file + ": a storage is not in its list");
    }
    FileChannel own = FileChannel.open(file, StandardOpenOption.READ); // threads seek on their own
    return Channels.newInputStream(own.position(start));
  }

  // ---------------------------------------------------------------- tensors

  private static NamedTensors view(
      Path file,
      StateDict weights,
      Map<String, String> strings,
      Storages storages,
      Closeable source) {
    Map<String, LazyTensor> tensors = new LinkedHashMap<>();
    weights
        .tensors()
        .forEach(
            (name, stored) ->
                tensors.put(
                    name,
                    new LazyTensor(
                        stored.storage().dtype(),
                        stored.shape(),
                        as -> read(file, stored, storages, as))));
    String where = weights.path() + (weights.isAveraged() ? " (averaged weights, EMA)" : "");
    Map<String, String> metadata = new LinkedHashMap<>(strings);
    if (!where.isEmpty()) {
      metadata.put("read_from", where);
    }
    return new TensorView(file.toString(), tensors, metadata, source);
  }

  private static Tensor read(Path file, StoredTensor stored, Storages storages, DType as)
      throws IOException {
    DType type = stored.storage().dtype();
    try (InputStream in = storages.open(stored.storage())) {
      in.skipNBytes(stored.offset() * type.bytes());
      Tensor span = Tensor.empty(as, stored.span()); // the elements that the tensor lies in
      long step = CHUNK / type.bytes();
      byte[] bytes = new byte[(int) Math.min(CHUNK, stored.span() * type.bytes())];
      for (long done = 0; done < stored.span(); done += step) {
        try (Scope scope = Scope.open()) {
          Tensor chunk = Tensor.empty(type, Math.min(step, stored.span() - done));
          int count = (int) chunk.numel() * type.bytes();
          if (in.readNBytes(bytes, 0, count) != count) {
            throw new EOFException("it ends too early");
          }
          chunk.bytes(0, count).put(bytes, 0, count);
          span.narrow(0, done, chunk.numel()).copyInPlace(chunk);
        }
      }
      return span.asStrided(stored.shape(), stored.strides()).contiguous();
    } catch (EOFException | ZipException e) {
      throw damaged(file, e);
    }
  }
}
