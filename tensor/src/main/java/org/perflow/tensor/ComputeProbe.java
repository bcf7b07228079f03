package org.perflow.tensor;

import java.io.BufferedWriter;
import java.io.IOException;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.zip.CRC32;
import org.bytedeco.javacpp.Loader;
import org.jspecify.annotations.Nullable;

/**
 * How long a convolution and a product of matrices, of the sizes that U-Nets have in their middle,
 * take on this machine. Measured once for a processor, a number of threads and a version of
 * libtorch, then kept in {@code compute.properties} in JavaCPP's cache folder; where that cannot be
 * written it is measured by each process. The system property {@value #PROPERTY} says what is
 * faster without measuring. Thread-safe.
 *
 * @param float32 milliseconds
 * @param bfloat16 milliseconds
 */
public record ComputeProbe(double float32, double bfloat16) {
  /** {@code float32} or {@code bfloat16}. */
  public static final String PROPERTY = "perflow.compute";

  /** Less than this is not worth three digits of every number. */
  private static final double WORTH = 1.1;

  /** So many times slower is no chance of the moment: processors without such instructions. */
  private static final double PLAIN = 2;

  private static final int CHANNELS = 128;
  private static final int ROUNDS = 3;
  private static final String FILE = "compute.properties";

  private static final Map<Device, ComputeProbe> KNOWN = new HashMap<>();

  /** Of this machine's processor. */
  public static ComputeProbe here() {
    return on(Device.CPU);
  }

  /** Of a device of this machine; of one that is not its processor measured by each process. */
  public static synchronized ComputeProbe on(Device device) {
    return KNOWN.computeIfAbsent(device, ComputeProbe::told);
  }

  /** The faster one; float32 where both are alike. */
  public DType faster() {
    return float32 > WORTH * bfloat16 ? DType.BF16 : DType.F32;
  }

  @Override
  public String toString() {
    return "computes in %s, the faster here (float32 %.1f ms, bfloat16 %.1f ms)"
        .formatted(faster().torchName(), float32, bfloat16);
  }

  private static ComputeProbe told(Device device) {
    String said = System.getProperty(PROPERTY);
    if (said == null) {
      return device.isCpu() ? kept() : measure(device);
    }
    return DType.parse(said) == DType.BF16
        ? new ComputeProbe(Double.POSITIVE_INFINITY, 0)
        : new ComputeProbe(0, Double.POSITIVE_INFINITY);
  }

  private static ComputeProbe kept() {
    Natives.prepare();
    String machine = machine();
    Properties all = new Properties();
    try {
      Path file = Device.cache().resolve(FILE);
      if (Files.exists(file)) {
        try (Reader reader = Files.newBufferedReader(file)) {
          all.load(reader);
        }
      }
      ComputeProbe before = read(all.getProperty(machine, ""));
      if (before != null) {
        return before;
      }
      ComputeProbe now = measure(Device.CPU);
      all.setProperty(machine, now.float32 + " " + now.bfloat16);
      write(all, file);
      return now;
    } catch (IOException | UncheckedIOException | IllegalArgumentException e) {
      return measure(
          Device.CPU); // a cache that cannot be read or written only costs the measurement
    }
  }

  private static @Nullable ComputeProbe read(String kept) {
    String[] times = kept.split(" ");
    if (times.length != 2) {
      return null;
    }
    ComputeProbe probe =
        new ComputeProbe(Double.parseDouble(times[0]), Double.parseDouble(times[1]));
    return probe.float32 > 0 && probe.bfloat16 > 0 ? probe : null;
  }

  private static void write(Properties all, Path file) throws IOException {
    Path beside = Files.createTempFile(file.getParent(), FILE, ".part");
    try {
      try (BufferedWriter writer = Files.newBufferedWriter(beside)) {
        all.store(writer, "Milliseconds in float32 and in bfloat16, by machine");
      }
      Files.move(beside, file, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(beside);
    }
  }

  /** What the times depend on; a home folder may be shared by machines of several kinds. */
  private static String machine() {
    CRC32 sum = new CRC32();
    for (String part :
        List.of(
            Processor.DESCRIPTION,
            System.getProperty("os.arch"),
            String.valueOf(System.getenv("ATEN_CPU_CAPABILITY")),
            String.valueOf(System.getenv("DNNL_MAX_CPU_ISA")),
            String.valueOf(Loader.class.getPackage().getImplementationVersion()))) {
      sum.update(part.getBytes(StandardCharsets.UTF_8));
    }
    return "%08x-%d".formatted(sum.getValue(), Device.threads());
  }

  private static ComputeProbe measure(Device device) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(0)) {
      Tensor picture = Tensor.randn(rng, 2, CHANNELS, 16, 16).channelsLast().to(device);
      Tensor filters = Tensor.randn(rng, CHANNELS, CHANNELS, 3, 3).to(device);
      Tensor tokens = Tensor.randn(rng, 512, CHANNELS).to(device);
      Tensor matrix = Tensor.randn(rng, 4L * CHANNELS, CHANNELS).to(device);
      double single = Double.POSITIVE_INFINITY;
      double half = Double.POSITIVE_INFINITY;
      for (int round = 0; round <= ROUNDS; round++) { // in turn: other processes slow both
        double one = millis(picture, filters, tokens, matrix);
        double other = millis(picture.to(DType.BF16), filters, tokens.to(DType.BF16), matrix);
        if (round > 0) { // the first one prepares the kernels
          single = Math.min(single, one);
          half = Math.min(half, other);
          if (other > PLAIN * one) {
            break;
          }
        }
      }
      return new ComputeProbe(single, half);
    }
  }

  private static double millis(Tensor picture, Tensor filters, Tensor tokens, Tensor matrix) {
    try (Scope scope = Scope.open()) {
      picture.device().synchronize();
      long start = System.nanoTime();
      Functional.conv2d(picture, filters, null, 1, 1);
      Functional.linear(tokens, matrix, null);
      picture.device().synchronize();
      return (System.nanoTime() - start) / 1e6;
    }
  }
}
