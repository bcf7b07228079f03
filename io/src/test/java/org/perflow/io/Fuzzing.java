package org.perflow.io;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Files damaged at random, from a seed: a reader reads each or refuses it by an {@link
 * IOException}, soon, and throws nothing else. What does not is kept in target/fuzz.
 */
public final class Fuzzing {
  private static final long SECONDS = 10;

  /** Tells the thread's own time, in which no other process makes a reader slow. */
  private static final ThreadMXBean CLOCK = ManagementFactory.getThreadMXBean();

  private static final int[] EXTREMES = {0, 1, -1, Integer.MIN_VALUE, Integer.MAX_VALUE, 0x10000};

  private final List<byte[]> originals;
  private final UnaryOperator<byte[]> repair;
  private final Random random;

  /** Reads all of a file. */
  @FunctionalInterface
  public interface Reader {
    void read(byte[] file) throws Exception;
  }

  /**
   * @param originals whole files of a kind
   * @param repair makes checksums right again, so that a reader looks further
   */
  public Fuzzing(List<byte[]> originals, UnaryOperator<byte[]> repair, long seed) {
    this.originals = originals;
    this.repair = repair;
    this.random = new Random(seed);
  }

  /** Hands {@code count} damaged files to {@code reader}; how many of them it read. */
  public int run(int count, Reader reader) {
    int read = 0;
    for (int i = 0; i < count; i++) {
      byte[] file = random.nextInt(8) == 0 ? damaged() : repair.apply(damaged());
      long start = CLOCK.getCurrentThreadCpuTime();
      try {
        reader.read(file);
        read++;
      } catch (IOException e) {
        if (e.getMessage() == null || e.getMessage().isBlank()) {
          throw failure(i, file, "an error without a word", e);
        }
      } catch (Throwable e) { // errors of the virtual machine are what is looked for
        throw failure(i, file, e.toString(), e);
      }
      if (CLOCK.getCurrentThreadCpuTime() - start > SECONDS * 1_000_000_000) {
        throw failure(i, file, "over " + SECONDS + " s", null);
      }
    }
    return read;
  }

  private static AssertionError failure(
      int index, byte[] file, String what, @Nullable Throwable cause) {
    Path kept = Path.of("target", "fuzz", index + ".bin");
    try {
      Files.createDirectories(kept.getParent());
      Files.write(kept, file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return new AssertionError("file " + index + " (kept as " + kept + "): " + what, cause);
  }

  private byte[] damaged() {
    byte[] file = originals.get(random.nextInt(originals.size())).clone();
    for (int i = random.nextInt(6); i >= 0 && file.length > 8; i--) {
      file = damage(file);
    }
    return file;
  }

  private byte[] damage(byte[] file) {
    // headers are small and stand at the front
    int bound = random.nextBoolean() ? Math.min(file.length, 200) : file.length;
    int at = random.nextInt(bound);
    int length = 1 + random.nextInt(Math.min(64, file.length - at));
    switch (random.nextInt(8)) {
      case 0:
        file[at] ^= (byte) (1 << random.nextInt(8));
        return file;
      case 1:
        file[at] = (byte) random.nextInt();
        return file;
      case 2:
        byte[] noise = new byte[length];
        random.nextBytes(noise);
        System.arraycopy(noise, 0, file, at, length);
        return file;
      case 3:
        return number(file, at);
      case 4:
        return Arrays.copyOf(file, at);
      case 5: // a part is gone
        return joined(Arrays.copyOf(file, at), file, at + length);
      case 6: // a part is there twice
        return joined(Arrays.copyOf(file, at + length), file, at);
      default: // the rest is another's
        byte[] other = originals.get(random.nextInt(originals.size()));
        return joined(Arrays.copyOf(file, at), other, Math.min(at, other.length));
    }
  }

  private byte[] number(byte[] file, int at) {
    int value = EXTREMES[random.nextInt(EXTREMES.length)];
    ByteBuffer number = ByteBuffer.allocate(4).putInt(value);
    int bytes = random.nextBoolean() ? 4 : 2;
    System.arraycopy(number.array(), 4 - bytes, file, at, Math.min(bytes, file.length - at));
    return file;
  }

  private static byte[] joined(byte[] front, byte[] back, int from) {
    byte[] all = Arrays.copyOf(front, front.length + back.length - from);
    System.arraycopy(back, from, all, front.length, back.length - from);
    return all;
  }
}
