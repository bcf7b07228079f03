package org.perflow.memory;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.perflow.tensor.DType;
import org.perflow.tensor.optim.Moments;
import org.perflow.train.LoraOptions;

/** Plans the memory of trainings, and knows what takes less of it. Stateless. */
public final class Planner {
  private static final int RANK = 32;

  /**
   * Settings that take less memory.
   *
   * @param option as the command line has it
   * @param cost in words
   * @param change of the work; the same where it does not apply
   */
  private record Saving(String option, String cost, UnaryOperator<Workload> change) {
    /** Halves a batch as often as it must. */
    boolean repeats() {
      return option.contains("--batch");
    }
  }

  /** The cheapest first. */
  private static final List<Saving> ALL =
      List.of(
          new Saving(
              "--gradient-checkpointing",
              "a third more time",
              work ->
                  work.beside().trained() > 0
                      ? work // its second backward pass has no room on the tape
                      : work.withTrain(work.train().withGradientCheckpointing(true))),
          new Saving(
              "--teacher-dtype float16",
              "nothing where the teacher's file is float16; else its last digits",
              work -> work.teacher() == DType.F32 ? work.withTeacher(DType.F16) : work),
          new Saving(
              "--moments int8",
              "slightly rougher steps (arXiv 2110.02861)",
              work -> work.withTrain(work.train().withMoments(Moments.INT8))),
          new Saving("smaller --batch with --accumulate", "time", Planner::smallerBatch),
          new Saving(
              "--ema 0",
              "the student has the last weights, not their average",
              work -> work.withTrain(work.train().withEma(0))),
          new Saving(
              "--lora-rank " + RANK,
              "only low-rank changes can be learnt",
              work ->
                  work.lora().lowRank() || work.textTrained() || work.factors() == 0
                      ? work
                      : work.withLora(LoraOptions.DEFAULTS.withLoraRank(RANK)).withTeacher(null)));

  private Planner() {}

  /** The plan of that work on the device that computes it, with advice where it does not fit. */
  public static MemoryPlan plan(Workload work) {
    return plan(work, Memory.of(work.train().device()));
  }

  static MemoryPlan plan(Workload work, Memory memory) {
    MemoryPlan plan = unadvised(work, memory);
    return plan.fits() ? plan : new MemoryPlan(plan.parts(), memory, advice(work, plan));
  }

  private static MemoryPlan unadvised(Workload work, Memory memory) {
    return new MemoryPlan(Estimate.of(work, memory), memory, List.of());
  }

  /**
   * The same work with as many savings, the cheapest first, as make it fit; empty if all do not.
   */
  public static Optional<Workload> fitted(Workload work) {
    return fitted(work, Memory.of(work.train().device()));
  }

  /** Down to one row a micro-batch, with the same rows a step. */
  private static Workload smallerBatch(Workload work) {
    int batch = work.train().batch();
    int accumulate = work.train().accumulate();
    return batch % 2 == 0 && work.splits()
        ? work.withTrain(work.train().with(t -> t.batch(batch / 2).accumulate(2 * accumulate)))
        : work;
  }

  /** What would make it fit: every saving alone, with what it saves and costs. */
  private static List<String> advice(Workload work, MemoryPlan plan) {
    List<String> lines = new ArrayList<>();
    for (Saving each : ALL) {
      MemoryPlan less = unadvised(each.change().apply(work), plan.memory());
      long saved = plan.bytes() - less.bytes();
      if (saved > 0) {
        lines.add(
            "%s saves %s; it costs %s"
                .formatted(each.option(), MemoryPlan.gigabytes(saved), each.cost()));
      }
    }
    lines.add(
        fitted(work, plan.memory())
            .map(fitting -> "--low-memory chooses what is needed of these")
            .orElse("all of these together do not make it fit: take smaller pictures"));
    return lines;
  }

  static Optional<Workload> fitted(Workload work, Memory memory) {
    Workload now = work;
    for (Saving each : ALL) {
      Workload before;
      do {
        if (unadvised(now, memory).fits()) {
          return Optional.of(now);
        }
        before = now;
        now = each.change().apply(now);
      } while (!now.equals(before) && each.repeats());
    }
    return unadvised(now, memory).fits() ? Optional.of(now) : Optional.empty();
  }
}
