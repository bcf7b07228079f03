package org.perflow.distill.matching;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.perflow.distill.Checks;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * A student that predicts the data at T − 1, adds fresh noise of the next of N evenly spaced levels
 * (of 1000: 999, 749, 499, 249), and so on: how students that match a distribution are sampled, and
 * what they are trained on. Training at a later step starts from what the student itself draws in
 * the steps before, not from noised data that it never meets when sampling: the backward simulation
 * of DMD2 (Yin et al. 2024, arXiv 2405.14867, section 4.4).
 */
final class FewStepStudent {
  private final Net net;
  private final NoiseSchedule schedule;
  private final PredictionType prediction;
  private final int steps;
  private final long[] shape;
  private final Device device;

  FewStepStudent(Task task, int steps) {
    net = task.student();
    schedule = task.teacher().schedule();
    prediction = task.teacher().prediction();
    this.steps = steps;
    shape = task.data().shape();
    device = task.data().device();
  }

  /**
   * The same as a sampler. Its c_skip, which would add a little of z to the data, is below float32
   * at that scaling.
   */
  static ObjectNode scheduler(ObjectNode teacher, int steps) {
    return Schedulers.config("lcm", teacher)
        .put("original_inference_steps", steps)
        .put("timestep_scaling", 1e5)
        .put("clip_sample", false)
        .put(SchedulerConfig.STEPS, steps)
        .put(SchedulerConfig.GUIDANCE, 1.0); // the teacher's is in the student's weights
  }

  /** Refuses teachers from whose output at pure noise nothing follows about the data. */
  static void require(ObjectNode teacher, int steps) {
    NoiseSchedule schedule = NoiseSchedule.of(teacher);
    Checks.signal(teacher);
    if (steps < 1 || schedule.size() % steps != 0) {
      throw new IllegalArgumentException(
          "got %d steps of the student; expected a divisor of the teacher's %d noise levels"
              .formatted(steps, schedule.size()));
    }
  }

  /** States that the student meets when sampling, one step of its N a row. */
  record Start(Tensor z, Levels levels) {}

  /** What the student draws of {@code start}, with gradients as the calling thread says. */
  Tensor data(Conditioning condition, Start start) {
    return start.levels().data(net.given(condition), start.z());
  }

  /** What the student draws at a step that is drawn for each row, without gradients. */
  Tensor drawn(Conditioning condition, Rng rng) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return scope.keep(data(condition, start(condition, rng)));
    }
  }

  /** Pure noise, [rows, C, h, w]. */
  Tensor noise(int rows, Rng rng) {
    long[] batch = new long[shape.length + 1];
    batch[0] = rows;
    System.arraycopy(shape, 0, batch, 1, shape.length);
    return Tensor.randn(rng, batch).to(device);
  }

  /** That noise at the first step in every row. */
  Start first(Tensor noise) {
    return new Start(noise, level(0, (int) noise.size(0)));
  }

  /** Backward simulation without gradients: the first rows take the most steps. */
  Start start(Conditioning condition, Rng rng) {
    int rows = (int) condition.text().size(0);
    int[] own = ownSteps(rows, rng);
    List<Integer> indices = new ArrayList<>();
    for (int step : own) {
      indices.add(index(step));
    }
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor z = noise(rows, rng);
      List<Tensor> arrived = new ArrayList<>();
      int left = rows;
      for (int step = 0; left > 0; step++) {
        int further = rowsBeyond(own, step);
        if (further < left) {
          arrived.add(z.narrow(0, further, left - further));
        }
        if (further > 0) {
          Tensor going = z.narrow(0, 0, further);
          Tensor x = level(step, further).data(net.given(condition.narrow(0, further)), going);
          z = level(step + 1, further).noised(x, Tensor.randnLike(rng, x));
        }
        left = further;
      }
      Collections.reverse(arrived);
      return new Start(
          scope.keep(Tensor.cat(0, arrived)), new Levels(schedule, prediction, indices));
    }
  }

  /** The steps of the rows, late ones first; over batches every step comes equally often. */
  private int[] ownSteps(int rows, Rng rng) {
    double u = Tensor.rand(rng, 1).toDoubleArray()[0];
    int[] own = new int[rows];
    for (int i = 0; i < rows; i++) {
      own[i] = Math.max(0, steps - 1 - (int) ((i + u) * steps / rows));
    }
    return own;
  }

  private static int rowsBeyond(int[] own, int step) {
    int count = 0;
    while (count < own.length && own[count] > step) {
      count++;
    }
    return count;
  }

  private Levels level(int step, int rows) {
    return Levels.all(schedule, prediction, index(step), rows);
  }

  private int index(int step) {
    return (steps - step) * (schedule.size() / steps) - 1;
  }
}
