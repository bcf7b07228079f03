package org.perflow.serve;

import io.soabase.recordbuilder.core.RecordBuilder;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;

/**
 * Settings of an {@link Engine}. Immutable.
 *
 * @param models name to diffusers folder or single-file checkpoint; the first is the default, and
 *     is loaded at the start
 * @param loras name to file; requests know them by name alone
 * @param controlNets name to folder
 * @param embeddings textual inversions: what a prompt says for each, and its file or folder. They
 *     are in every model that they fit, and change nothing where no prompt says their names
 * @param compute type of weights and of computing, F32 or BF16, or F16 on a GPU
 * @param device where models draw, and are
 * @param offload whether they stay on the CPU, and each part is copied to the device for its share
 *     of a drawing
 * @param batch most pictures drawn at once
 * @param queue most jobs that wait
 * @param memory bytes that weights and drawing may take together; a request that the estimate sees
 *     above that is refused, and models not in use make room for others
 * @param keep how long results stay after they are done
 * @param patience how long a job may be drawn
 * @param limits of one request
 * @param journal folder where accepted jobs and their results survive the death of the process;
 *     null for none
 */
@RecordBuilder
public record EngineOptions(
    Map<String, Path> models,
    Map<String, Path> loras,
    Map<String, Path> controlNets,
    Map<String, Path> embeddings,
    DType compute,
    Device device,
    boolean offload,
    int batch,
    int queue,
    long memory,
    Duration keep,
    Duration patience,
    Limits limits,
    @Nullable Path journal)
    implements EngineOptionsBuilder.With {

  /**
   * The most that one request may ask for.
   *
   * @param count pictures
   * @param steps of the sampler
   * @param pixels of a picture, drawn or sent
   * @param promptLength characters of a prompt
   */
  public record Limits(int count, int steps, int pixels, int promptLength) {
    /** 10 pictures, 150 steps, 4 million pixels, 8,000 characters. */
    public static final Limits DEFAULTS = new Limits(10, 150, 1 << 22, 8000);

    public Limits {
      if (count < 1 || steps < 1 || pixels < 1 || promptLength < 1) {
        throw new IllegalArgumentException(
            "limits are %d pictures, %d steps, %d pixels, %d characters; want 1 or more of each"
                .formatted(count, steps, pixels, promptLength));
      }
    }
  }

  public EngineOptions {
    models = ordered(models);
    loras = ordered(loras);
    controlNets = ordered(controlNets);
    embeddings = ordered(embeddings);
    if (models.isEmpty()) {
      throw new IllegalArgumentException("no model to draw with; name one");
    }
    if (!Set.of(DType.F32, DType.BF16, DType.F16).contains(compute)) {
      throw new IllegalArgumentException("compute is " + compute + "; want F32, BF16 or F16");
    }
    if (batch < 1 || queue < 1 || memory < 1) {
      throw new IllegalArgumentException(
          "batch is %d, queue %d, memory %d bytes; want 1 or more of each"
              .formatted(batch, queue, memory));
    }
    if (keep.isNegative() || keep.isZero() || patience.isNegative() || patience.isZero()) {
      throw new IllegalArgumentException(
          "results stay %s, jobs may take %s; want some time for both".formatted(keep, patience));
    }
  }

  /** One model under the name of its folder, in float32, and the usual settings. */
  public static EngineOptions of(Path model) {
    return new EngineOptions(
        Map.of(name(model), model),
        Map.of(),
        Map.of(),
        Map.of(),
        DType.F32,
        Device.AUTO,
        false,
        16,
        64,
        usualMemory(),
        Duration.ofMinutes(10),
        Duration.ofMinutes(10),
        Limits.DEFAULTS,
        null);
  }

  /** What a model, LoRA or ControlNet is called: its file's or folder's name without ending. */
  public static String name(Path file) {
    String name = file.toAbsolutePath().normalize().getFileName().toString();
    return name.replaceFirst("\\.(safetensors|ckpt|pt|bin)$", "");
  }

  /** Four fifths of the machine's memory, or of what the container may take. */
  private static long usualMemory() {
    var system =
        (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    return system.getTotalMemorySize() / 5 * 4;
  }

  /** The first model's name. */
  public String defaultModel() {
    return models.keySet().iterator().next();
  }

  private static Map<String, Path> ordered(Map<String, Path> map) {
    return Collections.unmodifiableMap(new LinkedHashMap<>(map));
  }
}
