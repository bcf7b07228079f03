package org.perflow.io;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.UUID;

/**
 * The new content of a file while it is being written beside it: {@link #commit} puts it in place,
 * closing without that drops it. One thread.
 */
final class PendingFile implements AutoCloseable {
  private final Path target;
  private final Path beside;
  private final FileChannel channel;
  private final OutputStream out;

  PendingFile(Path target) throws IOException {
    this.target = target;
    Files.createDirectories(parent(target));
    this.beside = sibling(target, UUID.randomUUID() + ".tmp");
    this.channel =
        FileChannel.open(beside, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    this.out = new BufferedOutputStream(Channels.newOutputStream(channel), 1 << 16);
  }

  /** Takes the content. */
  OutputStream out() {
    return out;
  }

  /** On disk first, then renamed: a power cut in between leaves the old file. */
  void commit() throws IOException {
    out.flush();
    channel.force(true);
    channel.close(); // Windows renames no open file
    Files.move(beside, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    forceFolder(parent(target));
  }

  @Override
  public void close() throws IOException {
    channel.close();
    Files.deleteIfExists(beside); // gone already after a commit
  }

  static Path parent(Path target) throws IOException {
    Path folder = target.toAbsolutePath().getParent();
    if (folder == null) {
      throw new IOException("cannot write " + target + ": it is the root of a file system");
    }
    return folder;
  }

  static Path sibling(Path target, String suffix) throws IOException {
    return parent(target).resolve("." + target.toAbsolutePath().getFileName() + "." + suffix);
  }

  /** The rename itself is on disk only once the folder is. Windows cannot open a folder. */
  static void forceFolder(Path folder) throws IOException {
    if (System.getProperty("os.name", "").startsWith("Windows")) {
      return;
    }
    try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }
}
