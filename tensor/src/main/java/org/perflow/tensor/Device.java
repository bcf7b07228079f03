package org.perflow.tensor;

import org.bytedeco.openblas.global.openblas_full;
import org.bytedeco.pytorch.global.torch;

/** Where tensors live, and how many threads compute. */
public final class Device {
  private Device() {}

  /** Threads that one operation uses on the CPU. */
  public static int threads() {
    return torch.get_num_threads();
  }

  /** Sets the threads of one operation, for the whole process. */
  public static void threads(int count) {
    if (count < 1) {
      throw new IllegalArgumentException("threads: got " + count + ", needs 1 or more");
    }
    torch.set_num_threads(count);
    // Matrix products have threads of their own, which spin between two small ones.
    openblas_full.openblas_set_num_threads(count);
  }
}
