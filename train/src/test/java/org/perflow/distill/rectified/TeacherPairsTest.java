package org.perflow.distill.rectified;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.LongStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.distill.Task;
import org.perflow.distill.ring.Ring;
import org.perflow.distill.ring.RingRecipe;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TeacherSolver;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.TrainOptions;

class TeacherPairsTest {
  private static final int STEPS = 4;

  @TempDir Path temp;

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  @Test
  void holdsWhatTheTeachersSamplerMakesOfTheNoise() {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        TeacherPairs store = store(300, 0)) {
      TeacherPairs.Batch pairs = store.batch(new long[] {0, 70, 299});
      Tensor z = pairs.noise();
      for (int index : new int[] {999, 749, 499, 249}) { // trailing
        Tensor epsilon =
            Ring.TEACHER.given(pairs.condition()).predict(z, Tensor.full(index, z.size(0)));
        z = PredictionType.EPSILON.ddim(Ring.SCHEDULE, index, index - 250).apply(z, epsilon);
      }
      assertThat(z.sub(pairs.sample()).abs().max().item()).isLessThan(1e-5);
      assertThat(pairs.noise().sub(pairs.sample()).abs().max().item()).isGreaterThan(0.1);
    }
  }

  @Test
  void goesOnWhereItWasInterruptedAndGrows() throws IOException {
    float[] all = samples(600);
    double seconds = seconds(600);
    assertThat(seconds).isPositive();
    assertThat(seconds(600)).isEqualTo(seconds); // kept, not measured again
    Files.delete(shard(2));
    Files.delete(shard(1));
    var first = Files.getLastModifiedTime(shard(0));
    assertThat(samples(300)).isEqualTo(Arrays.copyOf(all, 600)); // half of shard 1
    assertThat(samples(600)).isEqualTo(all);
    assertThat(Files.getLastModifiedTime(shard(0))).isEqualTo(first);
  }

  @Test
  void refusesForeignLostAndDamagedShards() throws IOException {
    samples(300);
    assertThatThrownBy(() -> store(300, 1))
        .hasMessageContaining(shard(0).toString())
        .hasMessageContaining("pairsFolder");
    byte[] content = Files.readAllBytes(shard(1));
    Files.write(shard(1), Arrays.copyOf(content, content.length - 3));
    assertThatThrownBy(() -> store(300, 0))
        .hasMessageContaining(shard(1).toString())
        .hasMessageContaining("remove it");
    Files.delete(shard(0));
    assertThatThrownBy(() -> store(300, 0))
        .hasMessageContaining(shard(0) + " is missing")
        .hasMessageContaining("put it back");
  }

  /** DDIM of four steps is what the teacher's own sampler does here. */
  @Test
  void holdsWhatASolverMakesOfTheNoise() {
    float[] sampled = samples(20);
    float[] ddim = solved(TeacherSolver.DDIM, "ddim");
    float[] heun = solved(TeacherSolver.HEUN, "heun");
    assertThat(ddim).containsExactly(sampled, within(1e-5f));
    assertThat(heun).hasSameSizeAs(sampled).isNotEqualTo(ddim);
    assertThatThrownBy(() -> solved(TeacherSolver.HEUN, "ddim")).hasMessageContaining("another");
    assertThatThrownBy(() -> new TeacherPairs.Settings(20, TeacherSolver.HEUN, 5, 1, ""))
        .hasMessageContaining("even number");
  }

  private float[] solved(TeacherSolver solver, String folder) {
    String path = temp.resolve(folder).toString();
    try (Scope scope = Scope.open();
        TeacherPairs store = store(0, new TeacherPairs.Settings(20, solver, STEPS, 1, path))) {
      return store.batch(LongStream.range(0, 20).toArray()).sample().toFloatArray();
    }
  }

  private double seconds(int count) {
    try (TeacherPairs store = store(count, 0)) {
      return store.seconds();
    }
  }

  private float[] samples(int count) {
    try (Scope scope = Scope.open();
        TeacherPairs store = store(count, 0)) {
      return store.batch(LongStream.range(0, count).toArray()).sample().toFloatArray();
    }
  }

  private TeacherPairs store(int count, long seed) {
    return store(seed, new TeacherPairs.Settings(count, null, STEPS, 1, ""));
  }

  private TeacherPairs store(long seed, TeacherPairs.Settings settings) {
    TrainOptions training = RingRecipe.TRAINING.withSeed(seed);
    var teacher = new Task.Teacher(Ring.TEACHER, Ring.scheduler());
    Task task = new Task(new Ring(), teacher, Ring.TEACHER, false, training, temp);
    return TeacherPairs.of(task, settings);
  }

  private Path shard(int number) {
    return temp.resolve("pairs/pairs-%05d.safetensors".formatted(number));
  }
}
