package org.perflow.tensor;

import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Platform;
import java.util.Locale;
import java.util.Map;

/**
 * What libtorch, its OpenMP, the C library and JavaCPP read once, when they are loaded. Set by this
 * library wherever the user has not, so that a Java application is as fast as the command line and
 * needs no environment variables and no flags.
 */
final class NativeSettings {
  /** OpenMP's threads that spin would take the cores from those that multiply matrices. */
  private static final Map<String, String> ENVIRONMENT =
      Map.of(
          "OMP_WAIT_POLICY", "PASSIVE",
          "THP_MEM_ALLOC_ENABLE",
              "1"); // huge pages for large tensors, where the system offers them

  /**
   * glibc hands freed memory back at once, and the next tensor faults its pages in again: a
   * training step takes a tenth longer. Up to 1 GiB stays; tensors over 32 MiB come and go.
   */
  private static final Map<String, int[]> MALLOC = // by environment variable: parameter and value
      Map.of(
          "MALLOC_MMAP_THRESHOLD_", new int[] {-3, 32 << 20},
          "MALLOC_TRIM_THRESHOLD_", new int[] {-1, 1 << 30});

  private NativeSettings() {}

  private interface C extends Library {
    int setenv(String name, String value, int overwrite);

    int mallopt(int parameter, int value);
  }

  /** Before any class of JavaCPP is touched. */
  static void settle() {
    // libtorch's memory is not the Java heap's: JavaCPP must not weigh one against the other.
    for (String limit : new String[] {"maxBytes", "maxPhysicalBytes"}) {
      String name = "org.bytedeco.javacpp." + limit;
      if (System.getProperty(name) == null
          && System.getProperty(name.toLowerCase(Locale.ROOT)) == null) {
        System.setProperty(name, "0");
      }
    }
    if (Platform.isLinux()) {
      linux();
    }
  }

  private static void linux() {
    try {
      C c = Native.load("c", C.class);
      ENVIRONMENT.forEach((name, value) -> c.setenv(name, value, 0));
      MALLOC.forEach(
          (name, setting) -> {
            if (System.getenv(name) == null) {
              c.mallopt(setting[0], setting[1]);
            }
          });
    } catch (UnsatisfiedLinkError | NoClassDefFoundError e) {
      // no folder that JNA may unpack itself into: slower, else the same
    }
  }
}
