package org.perflow.tensor;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalLong;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.SizeTPair;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;

/**
 * Where tensors live and are computed with: the CPU, a CUDA or a Metal GPU.
 *
 * <p>There is no current device. Weights have one ({@link org.perflow.tensor.nn.Module#to}), what
 * is made of them has theirs, and what is made beside them follows the tensor that it is to meet
 * ({@link Tensor#to(Device)}, {@link Tensor#randnLike}); libtorch refuses tensors of two devices.
 * So whichever thread computes, it computes where the model is. Everything random is drawn by the
 * CPU's generator and then moved: a seed means the same on every device.
 *
 * <p>A GPU is handed its work and goes on by itself. The host waits for it only where it reads
 * values ({@link Tensor#item}, {@link Tensor#toFloatArray} and their like, {@link
 * Tensor#isFinite}), which a training step or a sampling step does not do between two records of
 * the log.
 *
 * <p>Immutable. Making one loads no native library, which {@link #settled} does.
 *
 * @param index of several of a kind, else 0
 */
public record Device(Kind kind, int index) {
  /** Kinds of devices. */
  public enum Kind {
    /** A CUDA device where there is one, else the CPU. */
    AUTO,
    CPU,
    CUDA,
    /** Apple's Metal. */
    MPS,
    /** No values, only types and shapes: what would run elsewhere is checked by it. */
    META
  }

  /** {@link Kind#AUTO}. */
  public static final Device AUTO = new Device(Kind.AUTO, 0);

  /** {@link Kind#CPU}. */
  public static final Device CPU = new Device(Kind.CPU, 0);

  /** {@link Kind#META}. */
  public static final Device META = new Device(Kind.META, 0);

  private static final String SWITCH =
      "install those that do: PERFLOW_NATIVES=cuda ./perflow ..., or in a build of your own the"
          + " dependencies that docs/gpu.md names";

  public Device {
    if (index < 0 || index > Byte.MAX_VALUE || (index > 0 && kind != Kind.CUDA)) {
      throw new IllegalArgumentException("there is no device " + kind + " of number " + index);
    }
  }

  /**
   * {@code auto}, {@code cpu}, {@code cuda}, {@code cuda:1} or {@code mps}; also {@code meta}.
   *
   * @throws IllegalArgumentException naming what there is
   */
  public static Device parse(String name) {
    String lower = name.strip().toLowerCase(Locale.ROOT);
    if (lower.matches("cuda:\\d{1,2}")) {
      return new Device(Kind.CUDA, Integer.parseInt(lower.substring("cuda:".length())));
    }
    for (Kind kind : Kind.values()) {
      if (lower.equals(kind.name().toLowerCase(Locale.ROOT))) {
        return new Device(kind, 0);
      }
    }
    throw new IllegalArgumentException(
        "unknown device '" + name + "'; known: auto, cpu, cuda, cuda:1 (the second one), mps");
  }

  /**
   * The device that {@link #AUTO} stands for here; any other itself, once it is sure that it is
   * there.
   *
   * @throws IllegalArgumentException where it is not, saying why and what to do
   */
  public Device settled() {
    Natives.prepare();
    return switch (kind) {
      case AUTO -> torch.hasCUDA() && torch.cuda_is_available() ? new Device(Kind.CUDA, 0) : CPU;
      case CUDA -> {
        requireCuda();
        yield this;
      }
      case MPS -> {
        if (!torch.hasMPS()) {
          throw new IllegalArgumentException(
              "device mps is not here: it takes macOS on Apple silicon, and libtorch with Metal;"
                  + " use cpu");
        }
        yield this;
      }
      case CPU, META -> this;
    };
  }

  private void requireCuda() {
    if (!torch.hasCUDA()) {
      throw new IllegalArgumentException("device " + this + ": " + withoutCuda());
    }
    if (!torch.cuda_is_available()) {
      throw new IllegalArgumentException("device " + this + " is not usable: " + refusal());
    }
    int count = torch.cuda_device_count();
    if (index >= count) {
      throw new IllegalArgumentException(
          "device %s is not here; there %s"
              .formatted(
                  this, count == 1 ? "is cuda:0 alone" : "are cuda:0 to cuda:" + (count - 1)));
    }
  }

  /**
   * Why libtorch knows no CUDA: its libraries are the CPU's or, as it loads without a word, those
   * for GPUs, but one of NVIDIA's that these need is missing.
   */
  private static String withoutCuda() {
    Path loaded = Path.of(Loader.load(torch.class));
    Path cuda = loaded.resolveSibling(System.mapLibraryName("torch_cuda"));
    if (!Files.exists(cuda)) {
      return "these native libraries compute on the CPU alone; " + SWITCH;
    }
    String missing = "its part for CUDA was not loaded";
    try {
      System.load(cuda.toString());
    } catch (UnsatisfiedLinkError e) {
      missing = e.getMessage();
    }
    return "libtorch for GPUs is here, but not all that it needs: "
        + missing
        + " (docs/gpu.md says what to install)";
  }

  /** What libtorch says of the driver: that there is none, or which version it is too old for. */
  private String refusal() {
    try (PointerScope scope = new PointerScope()) {
      torch.zeros(new long[] {1}, new TensorOptions(raw()));
      return "libtorch finds no device";
    } catch (RuntimeException e) {
      return String.valueOf(e.getMessage()).lines().findFirst().orElse("")
          + " (nvidia-smi shows driver and devices; docs/gpu.md says which driver it takes)";
    }
  }

  /** Whether it is the host's own memory, where values can be read at once. */
  public boolean isCpu() {
    return kind == Kind.CPU;
  }

  org.bytedeco.pytorch.Device raw() {
    return switch (kind) {
      case AUTO -> settled().raw();
      case CPU -> new org.bytedeco.pytorch.Device(torch.DeviceType.CPU);
      case CUDA -> new org.bytedeco.pytorch.Device(torch.DeviceType.CUDA, (byte) index);
      case MPS -> new org.bytedeco.pytorch.Device(torch.DeviceType.MPS, (byte) 0);
      case META -> new org.bytedeco.pytorch.Device(torch.DeviceType.Meta);
    };
  }

  /** Asked often, so without an object of libtorch's. */
  static Device of(org.bytedeco.pytorch.Tensor raw) {
    if (raw.is_cpu()) {
      return CPU;
    }
    if (raw.is_cuda()) {
      try (org.bytedeco.pytorch.Device there = raw.device()) {
        return new Device(Kind.CUDA, Math.max(0, there.index()));
      }
    }
    return raw.is_meta() ? META : new Device(Kind.MPS, 0);
  }

  /** Waits until it has done all that it was handed: for clocks. Returns at once on the CPU. */
  public void synchronize() {
    if (kind == Kind.CUDA || kind == Kind.MPS) {
      torch.synchronizeDevice((byte) index);
    }
  }

  /**
   * Memory of a GPU that this process has, in bytes.
   *
   * @param allocated by tensors
   * @param reserved allocated, or kept for the tensors to come
   * @param peak the most that was allocated at a time
   */
  public record Memory(long allocated, long reserved, long peak) {
    /** Such as {@code 3.21 GB in use, 4.10 GB reserved, 3.90 GB at the peak}. */
    @Override
    public String toString() {
      return String.format(
          Locale.ROOT,
          "%.2f GB in use, %.2f GB reserved, %.2f GB at the peak",
          allocated / 1e9,
          reserved / 1e9,
          peak / 1e9);
    }
  }

  /** What this process has of it; zeros where it is no GPU of CUDA. */
  public Memory memory() {
    if (kind != Kind.CUDA) {
      return new Memory(0, 0, 0);
    }
    try (PointerScope scope = new PointerScope()) {
      var statistics = torch.getDeviceStats((byte) index);
      var allocated = statistics.allocated_bytes(); // the first is of blocks of every size
      return new Memory(
          allocated.current(), statistics.reserved_bytes().current(), allocated.peak());
    }
  }

  /** Bytes that nobody uses; empty where it is no GPU of CUDA. */
  public OptionalLong free() {
    if (kind != Kind.CUDA) {
      return OptionalLong.empty();
    }
    try (SizeTPair freeAndAll = torch.getMemoryInfo((byte) index)) {
      return OptionalLong.of(freeAndAll.first());
    }
  }

  /**
   * The libraries that compute, by name, with what they found: {@code libtorch}, {@code kernels}
   * (the instruction set that libtorch chose), {@code oneDNN}, {@code OpenMP}, {@code BLAS}, and
   * {@code cuda}, {@code true} where libtorch was built for it and finds a device.
   */
  public static Map<String, String> libraries() {
    return Natives.libraries();
  }

  /** Where native libraries are unpacked, and what was measured of this machine is kept. */
  public static Path cache() {
    return Natives.cache();
  }

  /** Threads that one operation uses on the CPU. */
  public static int threads() {
    return Natives.threads();
  }

  /** Sets the threads of one operation on the CPU, for the whole process. */
  public static void threads(int count) {
    Natives.threads(count);
  }

  /** As {@link #parse} reads it. */
  @Override
  public String toString() {
    String name = kind.name().toLowerCase(Locale.ROOT);
    return kind == Kind.CUDA ? name + ":" + index : name;
  }
}
