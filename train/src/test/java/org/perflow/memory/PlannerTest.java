package org.perflow.memory;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.memory.MemoryPlan.Part;
import org.perflow.memory.MemoryPlan.When;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.optim.Moments;
import org.perflow.train.Catalogue;
import org.perflow.train.Golden;
import org.perflow.train.LoraOptions;
import org.perflow.train.TrainOptions;

class PlannerTest {
  private static final long WEIGHTS = 1_000_000_000;

  @TempDir private Path temp;

  /** A tiny network's maps with a large one's weights. */
  private static Workload work() throws IOException {
    TrainOptions train = TrainOptions.DEFAULTS.withCompute(Compute.F32).withBatch(32);
    return Workload.of(Golden.FOLDER, null, train, LoraOptions.DEFAULTS)
        .with(work -> work.unetWeights(WEIGHTS).factors(2_000_000));
  }

  private static MemoryPlan plan(Workload work, double gigabytes) {
    return Planner.plan(work, new Memory((long) (gigabytes * 1e9), "this test", false));
  }

  private static long bytes(MemoryPlan plan, String what) {
    return plan.parts().stream()
        .filter(part -> part.what().startsWith(what))
        .mapToLong(Part::bytes)
        .sum();
  }

  @Test
  void everyWeightHasItsBytes() throws IOException {
    MemoryPlan plan = plan(work(), 1000);
    assertThat(bytes(plan, "student")).isEqualTo(4 * WEIGHTS);
    assertThat(bytes(plan, "teacher")).isEqualTo(4 * WEIGHTS);
    assertThat(bytes(plan, "gradients")).isEqualTo(4 * WEIGHTS);
    assertThat(bytes(plan, "moments")).isEqualTo(8 * WEIGHTS);
    assertThat(bytes(plan, "averaged")).isEqualTo(4 * WEIGHTS);
    assertThat(plan.fits()).isTrue();
    assertThat(plan.advice()).isEmpty();
    Workload short8 = work().withTrain(work().train().withMoments(Moments.INT8));
    assertThat(bytes(plan(short8, 1000), "moments")).isBetween(2 * WEIGHTS, 21 * WEIGHTS / 10);
    Workload lora = work().withLora(LoraOptions.DEFAULTS.withLoraRank(4)).withTeacher(null);
    assertThat(bytes(plan(lora, 1000), "gradients"))
        .isEqualTo(4 * 4 * 2_000_000L * Device.threads());
    assertThat(bytes(plan(lora, 1000), "teacher")).isZero();
    MemoryPlan beside = plan(work().withBeside(new Beside(1, 1)), 1000);
    assertThat(beside.bytes() - plan.bytes()).isEqualTo(20 * WEIGHTS);
  }

  @Test
  void onlyTheGreaterOfBothTimesCounts() {
    List<Part> parts =
        List.of(
            new Part("a", 1, When.ALWAYS),
            new Part("b", 20, When.PREPARING),
            new Part("c", 5, When.TRAINING),
            new Part("d", 6, When.TRAINING));
    assertThat(new MemoryPlan(parts, new Memory(21, "", false), List.of()).fits()).isTrue();
    assertThat(new MemoryPlan(parts, new Memory(20, "", false), List.of()).fits()).isFalse();
  }

  @Test
  void whatDoesNotFitIsToldWithWhatWouldHelp() throws IOException {
    String text = plan(work(), 20).text();
    assertThat(text)
        .contains("THIS DOES NOT FIT", "--low-memory chooses")
        .containsPattern("--moments int8 saves 5\\.9\\d GB; it costs slightly rougher steps")
        .contains("--ema 0 saves 4.00 GB", "--teacher-dtype float16 saves 2.00 GB")
        .containsPattern("--lora-rank 32 saves \\d+");
    assertThat(plan(work(), 2).text()).contains("do not make it fit");
  }

  @Test
  void theCheapestSavingsThatSufficeAreTaken() throws IOException {
    double all = plan(work(), 1000).bytes() / 1e9;
    Workload same = Planner.fitted(work(), new Memory(1L << 40, "", false)).orElseThrow();
    assertThat(same).isEqualTo(work());
    Workload half =
        Planner.fitted(work(), new Memory((long) ((all - 2) * 1e9), "", false)).orElseThrow();
    assertThat(half.teacher()).isEqualTo(DType.F16);
    assertThat(half.train().moments()).isEqualTo(Moments.FLOAT32);
    Workload eight = Planner.fitted(work(), new Memory(16_700_000_000L, "", false)).orElseThrow();
    assertThat(eight.train().moments()).isEqualTo(Moments.INT8);
    assertThat(eight.train().ema()).isPositive();
    assertThat(eight.train().batch() * eight.train().accumulate()).isEqualTo(32);
    Workload least = Planner.fitted(work(), new Memory(7_000_000_000L, "", false)).orElseThrow();
    assertThat(least.lora().loraRank()).isEqualTo(32);
    assertThat(least.train().batch()).isEqualTo(1);
    assertThat(least.train().accumulate()).isEqualTo(32);
    assertThat(Planner.fitted(work(), new Memory(1_000_000_000L, "", false))).isEmpty();
  }

  /** What a GPU has to hold is told apart from what lies in the host's memory. */
  @Test
  void onAGpuItsOwnMemoryCounts() throws IOException {
    MemoryPlan plan = Planner.plan(work(), new Memory(24_000_000_000L, "cuda:0", true));
    assertThat(plan.parts())
        .filteredOn(part -> part.when() == When.HOST)
        .extracting(Part::what)
        .containsExactly("Java and libtorch", "latents and captions");
    assertThat(plan.bytes()).isLessThan(plan(work(), 24).bytes());
    assertThat(plan.text())
        .contains("of 24.00 GB that is free on cuda:0")
        .contains("Java and libtorch (in the host's memory)");
    MemoryPlan unknown = Planner.plan(work(), new Memory(Long.MAX_VALUE, "cuda:0", true));
    assertThat(unknown.text()).contains("GB at the peak; how much cuda:0 has is not known");
  }

  /** Nobody teaches there: the model stays whole, and a VAE of its own is trained first. */
  @Test
  void aTeacherFromScratchKeepsAllItsParts() throws IOException {
    Catalogue data = Catalogue.of(List.of(Golden.shard(temp.resolve("train-0.tar"))));
    TrainOptions train = TrainOptions.DEFAULTS.withCompute(Compute.F32).withBatch(2);
    MemoryPlan kept = plan(Workload.ofPretraining(Golden.FOLDER, data, train, true, false), 1000);
    assertThat(kept.parts())
        .filteredOn(part -> part.what().equals("VAE and text encoders"))
        .extracting(Part::when)
        .containsExactly(When.ALWAYS);
    assertThat(bytes(kept, "teacher")).isZero();
    assertThat(bytes(kept, "training of the VAE")).isZero();
    Workload large = Workload.ofPretraining(Golden.FOLDER, data, train, true, true).withHeight(512);
    assertThat(bytes(plan(large.withWidth(512), 1000), "training of the VAE")).isPositive();
  }

  /** A second backward pass has no room on the tape, and a method may need whole batches. */
  @Test
  void savingsThatTheMethodRefusesAreNotTaken() throws IOException {
    Workload bound = work().with(work -> work.beside(new Beside(1, 0)).splits(false));
    Workload least = Planner.fitted(bound, new Memory(20_000_000_000L, "", false)).orElseThrow();
    assertThat(least.train().gradientCheckpointing()).isFalse();
    assertThat(least.train().batch()).isEqualTo(32);
  }

  @Test
  void aContainersLimitCounts() throws IOException {
    Path limit = Files.writeString(temp.resolve("memory.max"), "4000000000\n");
    Path none = Files.writeString(temp.resolve("none"), "max\n");
    assertThat(Memory.within(8L << 30, List.of(none, temp.resolve("missing"))))
        .isEqualTo(new Memory(8L << 30, "this machine", false));
    assertThat(Memory.within(8L << 30, List.of(none, limit)))
        .isEqualTo(new Memory(4_000_000_000L, "this container", false));
    assertThat(Memory.here().bytes()).isPositive();
  }
}
