package org.perflow.io;

import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;

/**
 * Keeps a folder for one writer at a time: the file {@code .lock} in it is locked until closed, and
 * the operating system unlocks it when the process ends, however it does. In it stands who holds
 * it. Thread-safe.
 */
public final class FolderLock implements AutoCloseable {
  private static final String NAME = ".lock";
  private static final long FAR = Long.MAX_VALUE - 1; // Windows keeps others from what is locked

  /** Of this process: closing any channel of a file would give up its lock on Linux. */
  private static final Map<Path, FolderLock> HELD = new HashMap<>();

  private final Path folder;
  private final FileChannel channel;
  private final Thread thread = Thread.currentThread();
  private int times = 1;

  private FolderLock(Path folder, FileChannel channel) {
    this.folder = folder;
    this.channel = channel;
  }

  /**
   * Takes {@code folder}, which is made where there is none. The thread that has it may take it
   * again, and then has to close it as often.
   *
   * @throws IOException at once, naming the owner, where somebody else has it
   */
  public static FolderLock take(Path folder) throws IOException {
    Files.createDirectories(folder);
    Path real = folder.toRealPath();
    synchronized (HELD) {
      FolderLock held = HELD.get(real);
      if (held == null) {
        held = lock(folder, real);
        HELD.put(real, held);
      } else if (held.thread == Thread.currentThread()) {
        held.times++;
      } else {
        throw taken(folder, owner());
      }
      return held;
    }
  }

  private static FolderLock lock(Path folder, Path real) throws IOException {
    FileChannel channel =
        FileChannel.open(
            real.resolve(NAME),
            StandardOpenOption.CREATE,
            StandardOpenOption.READ,
            StandardOpenOption.WRITE);
    try {
      if (channel.tryLock(FAR, 1, false) == null) {
        throw taken(folder, read(channel));
      }
      channel.truncate(0);
      channel.write(ByteBuffer.wrap(owner().getBytes(StandardCharsets.UTF_8)), 0);
      return new FolderLock(real, channel);
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  private static IOException taken(Path folder, String owner) {
    return new IOException(
        "%s is being written by another perflow (%s): wait for it, stop it, or name another folder"
            .formatted(folder, owner));
  }

  private static String owner() {
    return "process " + ProcessHandle.current().pid() + " on " + host();
  }

  private static String host() {
    try {
      return InetAddress.getLocalHost().getHostName();
    } catch (UnknownHostException e) {
      return "this machine";
    }
  }

  private static String read(FileChannel channel) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(200);
    channel.read(bytes, 0);
    String text = new String(bytes.array(), 0, bytes.position(), StandardCharsets.UTF_8);
    return text.matches("[\\w .-]+") ? text : "its owner is not known";
  }

  /** Gives the folder free. */
  @Override
  public void close() throws IOException {
    synchronized (HELD) {
      if (--times == 0) {
        HELD.remove(folder);
        channel.close();
      }
    }
  }
}
