package org.perflow.memory;

import java.util.List;
import java.util.Locale;

/**
 * What a training takes in memory, part by part, against what there is. What only preparing or only
 * training needs is not there at the same time: the greater of the two counts.
 *
 * <pre>{@code
 * Accelerator accelerator =
 *     Accelerator.of(Path.of("my-model")).data(Path.of("data/mine")).out(Path.of("runs/mine"));
 * MemoryPlan plan = accelerator.memory();
 * System.out.println(plan.text());
 * if (!plan.fits()) {
 *   accelerator = accelerator.lowMemory();
 * }
 * }</pre>
 *
 * <p>By arithmetic, not by a trial. Where a GPU computes it is of that one's memory, which was
 * never measured. Immutable.
 *
 * @param parts what takes memory
 * @param memory what there is
 * @param advice settings that would save some, where it does not fit
 */
public record MemoryPlan(List<Part> parts, Memory memory, List<String> advice) {
  /** When a part is there. */
  public enum When {
    ALWAYS,
    PREPARING,
    TRAINING,
    /** Beside a GPU, in the host's memory: not part of the peak. */
    HOST
  }

  /** Bytes of something. */
  public record Part(String what, long bytes, When when) {}

  public MemoryPlan {
    parts = List.copyOf(parts);
    advice = List.copyOf(advice);
  }

  /** The peak. */
  public long bytes() {
    return bytes(When.ALWAYS) + Math.max(bytes(When.PREPARING), bytes(When.TRAINING));
  }

  private long bytes(When when) {
    return parts.stream().filter(part -> part.when == when).mapToLong(Part::bytes).sum();
  }

  /** Whether the peak is within the memory that there is. */
  public boolean fits() {
    return bytes() <= memory.bytes();
  }

  /** As people read it. */
  public String text() {
    StringBuilder text = new StringBuilder();
    text.append("memory: %s at the peak%s%n".formatted(gigabytes(bytes()), against()));
    for (Part part : parts) {
      String when =
          switch (part.when) {
            case ALWAYS -> "";
            case PREPARING -> " (before training)";
            case TRAINING -> " (in training)";
            case HOST -> " (in the host's memory)";
          };
      text.append("  %9s  %s%s%n".formatted(gigabytes(part.bytes), part.what, when));
    }
    advice.forEach(line -> text.append("  ").append(line).append(System.lineSeparator()));
    return text.toString().stripTrailing();
  }

  private String against() {
    return memory.isKnown()
        ? (memory.onGpu() ? " of %s that is free on %s%s" : " of %s that %s has%s")
            .formatted(
                gigabytes(memory.bytes()), memory.what(), fits() ? "" : ": THIS DOES NOT FIT")
        : "; how much %s has is not known".formatted(memory.what());
  }

  static String gigabytes(long bytes) {
    return String.format(Locale.ROOT, "%.2f GB", bytes / 1e9);
  }
}
