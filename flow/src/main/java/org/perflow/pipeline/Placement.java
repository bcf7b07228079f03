package org.perflow.pipeline;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.Device;
import org.perflow.tensor.nn.Module;

/**
 * Where the parts of a model (readers of captions, denoiser, autoencoder) compute: where they are
 * or, for a GPU that does not hold all of them, on that, each for its share of a drawing, from
 * copies of weights that stay in the host's memory.
 */
final class Placement {
  /** Where they are. */
  static final Placement THERE = new Placement(null);

  private final @Nullable Device device;

  private Placement(@Nullable Device device) {
    this.device = device;
  }

  /** On {@code device}, one part at a time, whichever thread asks. */
  static Placement on(Device device) {
    return new Placement(device.settled());
  }

  /** Where {@code part} computes. */
  Device of(Module part) {
    return device == null ? part.device() : device;
  }

  /** Does {@code work}, which needs that part. */
  <T> T run(Supplier<T> work, Module... part) {
    if (device == null) {
      return work.get();
    }
    synchronized (this) {
      return run(work, device, List.of(part));
    }
  }

  private static <T> T run(Supplier<T> work, Device device, List<Module> part) {
    return part.isEmpty()
        ? work.get()
        : part.get(0).on(device, () -> run(work, device, part.subList(1, part.size())));
  }

  /** What reads captions. */
  static Module[] readers(DiffusionModel model) {
    List<Module> readers = new ArrayList<>(List.of(model.textEncoder()));
    if (model.second() != null) {
      readers.add(model.second().textEncoder());
    }
    return readers.toArray(Module[]::new);
  }
}
