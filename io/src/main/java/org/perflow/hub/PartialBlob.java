package org.perflow.hub;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/**
 * A blob while it is fetched: {@code HASH.perflow.incomplete}, the content with a byte for each
 * piece behind it that says whether the piece is there. So a fetch that was killed goes on with the
 * pieces that it lacks. (Python's own {@code HASH.incomplete} grows from its beginning; it is left
 * alone.) Thread-safe.
 */
final class PartialBlob implements Closeable {
  static final String SUFFIX = ".perflow.incomplete";

  private final Path file;
  private final long size;
  private final long piece;
  private final FileChannel channel;

  private PartialBlob(Path file, long size, long piece, FileChannel channel) {
    this.file = file;
    this.size = size;
    this.piece = piece;
    this.channel = channel;
  }

  /** The file in which a blob is fetched. */
  static Path of(Path blob) {
    return blob.resolveSibling(blob.getFileName() + SUFFIX);
  }

  /** Begins, or goes on where pieces of the same size are there. */
  static PartialBlob open(Path blob, long size, long piece) throws IOException {
    Path file = of(blob);
    Files.createDirectories(file.getParent());
    FileChannel channel =
        FileChannel.open(
            file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    PartialBlob partial = new PartialBlob(file, size, piece, channel);
    if (channel.size() != size + partial.pieces()) {
      channel.truncate(0);
      channel.write(ByteBuffer.allocate(1), size + partial.pieces() - 1);
    }
    return partial;
  }

  int pieces() {
    return (int) Math.max(1, (size + piece - 1) / piece);
  }

  long start(int index) {
    return index * piece;
  }

  long end(int index) {
    return Math.min(size, (index + 1) * piece);
  }

  boolean has(int index) throws IOException {
    ByteBuffer mark = ByteBuffer.allocate(1);
    channel.read(mark, size + index);
    return mark.get(0) == 1;
  }

  void write(byte[] bytes, int count, long at) throws IOException {
    ByteBuffer buffer = ByteBuffer.wrap(bytes, 0, count);
    for (long to = at; buffer.hasRemaining(); ) {
      to += channel.write(buffer, to);
    }
  }

  /** Notes that a piece is there. */
  void mark(int index) throws IOException {
    channel.write(ByteBuffer.wrap(new byte[] {1}), size + index);
  }

  /** Where it lies. */
  Path file() {
    return file;
  }

  /** Makes it the blob. */
  void complete(Path blob) throws IOException {
    channel.truncate(size);
    channel.force(true);
    channel.close(); // Windows renames no open file
    Files.move(file, blob, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }

  /** Throws away what is there. */
  void discard() throws IOException {
    channel.close();
    Files.deleteIfExists(file);
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }

  /** About how many bytes of a blob of that size are there; 0 where nobody has begun. */
  static long fetched(Path blob, long size) throws IOException {
    Path file = of(blob);
    long pieces = Files.exists(file) ? Files.size(file) - size : 0;
    if (pieces < 1 || pieces > Integer.MAX_VALUE) {
      return 0;
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      ByteBuffer marks = ByteBuffer.allocate((int) pieces);
      channel.read(marks, size);
      long there = 0;
      for (byte mark : marks.array()) {
        there += mark;
      }
      return size * there / pieces;
    }
  }
}
