package org.perflow.memory;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.perflow.tensor.Device;

/**
 * How much memory a training may take.
 *
 * @param bytes the least of what the machine and its container allow, or what is free on a GPU; the
 *     largest number where nothing tells
 * @param what has it, for messages
 * @param onGpu whether that is a GPU
 */
public record Memory(long bytes, String what, boolean onGpu) {
  /** Limits of the container: version 2 of control groups, then version 1. */
  private static final List<Path> LIMITS =
      List.of(
          Path.of("/sys/fs/cgroup/memory.max"),
          Path.of("/sys/fs/cgroup/memory/memory.limit_in_bytes"));

  private static final Path STATUS = Path.of("/proc/self/status");

  /** Of the device that computes: of a GPU its own, else {@link #here}. */
  public static Memory of(Device device) {
    Device settled = device.settled();
    return settled.kind() == Device.Kind.CUDA
        ? new Memory(settled.free().orElse(Long.MAX_VALUE), settled.toString(), true)
        : here();
  }

  /** Whether anything told how much it is. */
  boolean isKnown() {
    return bytes < Long.MAX_VALUE;
  }

  /** Of this machine, or of the container that this process is in. */
  public static Memory here() {
    long machine = Long.MAX_VALUE;
    if (ManagementFactory.getOperatingSystemMXBean() instanceof OperatingSystemMXBean system) {
      machine = system.getTotalMemorySize();
    }
    return within(machine, LIMITS);
  }

  static Memory within(long machine, List<Path> limits) {
    Memory least = new Memory(machine, "this machine", false);
    for (Path file : limits) {
      long limit = number(file);
      if (limit < least.bytes) {
        least = new Memory(limit, "this container", false);
      }
    }
    return least;
  }

  /** No limit where there is no such file, or it says "max". */
  private static long number(Path file) {
    try {
      String text = Files.readString(file).strip();
      return text.matches("\\d{1,18}") ? Long.parseLong(text) : Long.MAX_VALUE;
    } catch (IOException e) {
      return Long.MAX_VALUE;
    }
  }

  /** Largest resident memory of this process so far (VmHWM of Linux); 0 where nothing tells. */
  public static long peak() throws IOException {
    if (!Files.exists(STATUS)) {
      return 0;
    }
    return Files.readAllLines(STATUS).stream()
        .filter(line -> line.startsWith("VmHWM:"))
        .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) * 1024)
        .findFirst()
        .orElse(0);
  }
}
