package org.perflow.tensor;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.openblas.global.openblas_full;
import org.bytedeco.pytorch.global.torch;

/**
 * The native libraries, and how many threads compute on the CPU: as many as libtorch finds cores,
 * but no more than the JVM may use (a container's share, which libtorch does not see), and all of
 * these where libtorch cannot read the machine's layout and takes one. {@code OMP_NUM_THREADS}
 * overrules it.
 */
final class Natives {
  private static volatile int threads;
  private static int wholeBatches; // whose gradients are being worked out
  private static volatile boolean strayed;

  static {
    NativeSettings.settle();
    load();
    // Never faster than oneDNN, and warns at every convolution on CPUs it does not know.
    torch.globalContext().setUserEnabledNNPACK(false);
    int found = torch.get_num_threads();
    int usable = Runtime.getRuntime().availableProcessors();
    if (System.getenv("OMP_NUM_THREADS") == null && (found > usable || found == 1)) {
      threads(usable);
    }
    threads = torch.get_num_threads();
    shareMatrices(0);
  }

  private Natives() {}

  /** Loads libtorch and settles the number of threads, before anything of it is used. */
  static void prepare() {}

  /**
   * One process at a time: at its first use JavaCPP unpacks libtorch from its jar, and JVMs that do
   * so side by side cut files off that another has mapped (SIGBUS).
   */
  private static void load() {
    try {
      Path lock = Loader.getCacheDir().toPath().resolve("perflow.lock");
      try (FileChannel file =
              FileChannel.open(lock, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
          FileLock held = file.lock()) {
        Loader.load(torch.class);
        Loader.load(openblas_full.class);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(
          "cannot unpack libtorch into JavaCPP's cache folder: "
              + e.getMessage()
              + " (-Dorg.bytedeco.javacpp.cachedir chooses another)",
          e);
    }
  }

  /** {@link Device#libraries}. */
  static Map<String, String> libraries() {
    Map<String, String> libraries = new LinkedHashMap<>();
    try (PointerScope scope = new PointerScope()) {
      String config = torch.show_config().getString();
      libraries.put("libtorch", version(org.bytedeco.pytorch.presets.torch.class));
      libraries.put("kernels", after(config, "CPU capability usage: "));
      libraries.put("oneDNN", after(config, "Intel(R) MKL-DNN "));
      libraries.put("OpenMP", after(config, "OpenMP "));
      libraries.put("BLAS", openblas_full.openblas_get_config().getString().strip());
      libraries.put("cuda", Boolean.toString(torch.hasCUDA() && torch.cuda_is_available()));
    }
    return libraries;
  }

  private static String version(Class<?> presets) {
    String jar = String.valueOf(presets.getProtectionDomain().getCodeSource().getLocation());
    return jar.replaceAll(".*/pytorch-|\\.jar.*", "");
  }

  /** The rest of the line of {@code text} that says {@code name}. */
  private static String after(String text, String name) {
    return text.lines()
        .filter(line -> line.contains(name))
        .map(line -> line.substring(line.indexOf(name) + name.length()).strip())
        .findFirst()
        .orElse("not said");
  }

  /** {@link Device#cache}. */
  static Path cache() {
    try {
      return Loader.getCacheDir().toPath();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** {@link Device#threads()}. */
  static int threads() {
    return threads;
  }

  /** {@link Device#threads(int)}. */
  static void threads(int count) {
    if (count < 1) {
      throw new IllegalArgumentException("threads: got " + count + ", needs 1 or more");
    }
    threads = count;
    torch.set_num_threads(count);
    shareMatrices(0);
  }

  /**
   * OpenBLAS's threads, which are its own, wait for those of other callers and spin between two
   * small products. So each caller has one, and libtorch's threads call side by side; but for the
   * gradients of a batch that is not shared out, which one caller multiplies alone. {@code
   * OPENBLAS_NUM_THREADS} overrules it.
   *
   * @param more batches of that kind
   */
  static synchronized void shareMatrices(int more) {
    wholeBatches += more;
    if (System.getenv("OPENBLAS_NUM_THREADS") == null) {
      openblas_full.openblas_set_num_threads(wholeBatches > 0 ? threads : 1);
    }
  }

  /** Threads of an operation of this thread alone, until it says otherwise. */
  static void ownThreads(int count) {
    if (torch.get_num_threads() != count) {
      torch.set_num_threads(count);
      strayed = true; // it is what new threads begin with, too
    }
  }

  /** After the shares: this thread and new ones as before. */
  static void together() {
    if (strayed) {
      strayed = false;
      torch.set_num_threads(threads);
    }
  }
}
