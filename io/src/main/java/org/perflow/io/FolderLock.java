package org.perflow.io;

import java.io.IOException;
import java.io.InterruptedIOException;
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
import java.util.function.Consumer;

/**
 * Keeps a folder for one writer at a time: the file {@code .lock} in it is locked until closed, and
 * the operating system unlocks it when the process ends, however it does. In it stands who holds
 * it. Thread-safe.
 */
public final class FolderLock implements AutoCloseable {
  private static final String NAME = ".lock";
  private static final int PAUSE_MILLIS = 200;
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
        throw new Taken(folder, owner());
      }
      return held;
    }
  }

  /**
   * The same, but waits for as long as somebody else has it.
   *
   * @param onWait told once who that is
   */
  public static FolderLock await(Path folder, Consumer<String> onWait) throws IOException {
    boolean told = false;
    while (true) {
      try {
        return take(folder);
      } catch (Taken e) {
        if (!told) {
          onWait.accept(e.owner);
          told = true;
        }
        pause();
      }
    }
  }

  private static void pause() throws IOException {
    try {
      Thread.sleep(PAUSE_MILLIS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("stopped while waiting for another perflow");
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
        throw new Taken(folder, read(channel));
      }
      channel.truncate(0);
      channel.write(ByteBuffer.wrap(owner().getBytes(StandardCharsets.UTF_8)), 0);
      return new FolderLock(real, channel);
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  /** Somebody else has it. */
  private static final class Taken extends IOException {
    private final String owner;

    Taken(Path folder, String owner) {
      super(
          "%s is being written by another perflow (%s): wait for it, stop it, or name another folder"
              .formatted(folder, owner));
      this.owner = owner;
    }
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
