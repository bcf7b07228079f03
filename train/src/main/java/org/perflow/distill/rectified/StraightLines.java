package org.perflow.distill.rectified;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Arrays;
import java.util.List;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Task;
import org.perflow.flow.Affine;
import org.perflow.io.Json;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;

/**
 * The straight lines z_t = (1 − t) data + t noise whose velocity dz/dt = noise − data a rectified
 * flow learns (Liu et al. 2022, arXiv 2209.03003; its u is our 1 − t, its velocity minus ours,
 * which is what flow-matching models of diffusers predict). The network is told 1000 t.
 */
public final class StraightLines implements AutoCloseable {
  private static final int GRID = 1000;

  private final Task task;
  private final @Nullable TeacherPairs store; // null for DATA
  private final boolean anyNoise;

  /** Makes the pairs where there are none yet; closed by the caller. */
  StraightLines(Task task, Coupling coupling, TeacherPairs.Settings pairs) {
    this.task = task;
    store = coupling == Coupling.DATA ? null : TeacherPairs.of(task, pairs);
    anyNoise = coupling != Coupling.PAIRS;
  }

  /** How many pictures there are. */
  int size() {
    return store == null ? task.data().size() : store.size();
  }

  /** Of the pictures, which may be of several sizes; pairs are of one. */
  List<long[]> groups() {
    return store == null
        ? task.data().groups()
        : List.of(LongStream.range(0, store.size()).toArray());
  }

  /** What making the pairs took. */
  double seconds() {
    return store == null ? 0 : store.seconds();
  }

  /** Ends of lines, in the caller's scope. */
  TeacherPairs.Batch ends(long[] examples, Rng rng) {
    if (store == null) {
      Tensor data = task.data().latents(examples, rng);
      Tensor noise = Tensor.randnLike(rng, data);
      return new TeacherPairs.Batch(noise, data, task.data().conditions(examples, rng));
    }
    TeacherPairs.Batch pairs = store.batch(examples);
    return anyNoise
        ? new TeacherPairs.Batch(
            Tensor.randnLike(rng, pairs.sample()), pairs.sample(), pairs.condition())
        : pairs;
  }

  /** Times 1, 0.999, ... 0.001, each equally likely: sampling starts at 1 and never asks at 0. */
  static double[] times(int rows, Rng rng) {
    double[] t = Tensor.rand(rng, rows).toDoubleArray();
    Arrays.setAll(t, i -> 1 - Math.min(GRID - 1, Math.floor(t[i] * GRID)) / GRID);
    return t;
  }

  /** z_t, float32 [B, C, h, w]. */
  static Tensor at(double[] t, TeacherPairs.Batch ends) {
    Affine[] each = new Affine[t.length];
    Arrays.setAll(each, i -> new Affine(1 - t[i], t[i]));
    return Affine.apply(each, ends.sample(), ends.noise());
  }

  /** What a network is told of t. */
  static Tensor told(double[] t) {
    return Tensor.generate(t.length, i -> GRID * t[i]);
  }

  /** The scheduler config of a student that follows such lines with Euler's method. */
  public static ObjectNode scheduler(String type, int steps, double guidance) {
    return Json.MAPPER
        .createObjectNode()
        .put("_class_name", type)
        .put("num_train_timesteps", 1000)
        .put("shift", 1.0)
        .put("timestep_spacing", "trailing")
        .put(SchedulerConfig.STEPS, steps)
        .put(SchedulerConfig.GUIDANCE, guidance);
  }

  @Override
  public void close() {
    if (store != null) {
      store.close();
    }
  }
}
