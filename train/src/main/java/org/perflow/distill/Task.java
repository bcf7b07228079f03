package org.perflow.distill;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.Collections;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TeacherSolver;
import org.perflow.flow.TimeWindows;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.train.Examples;
import org.perflow.train.TrainOptions;

/**
 * What a method is to work on. All of it stays its owner's.
 *
 * @param data latents and captions
 * @param teacher only read
 * @param student with the teacher's weights, or an earlier student's
 * @param continued whether these are an earlier student's, so that nothing holds of step 0
 * @param train settings of the run: batch, learning rate, seed
 * @param folder of the run, for what a method makes once, such as pairs
 */
public record Task(
    Examples data,
    Teacher teacher,
    Net student,
    boolean continued,
    TrainOptions train,
    Path folder) {

  /**
   * The teacher.
   *
   * @param net frozen
   * @param scheduler its scheduler config: noise schedule, what it predicts, how it is sampled
   */
  public record Teacher(Net net, ObjectNode scheduler) {
    /** Its noise table; an error that says so for a flow-matching teacher, which has none. */
    public NoiseSchedule schedule() {
      return NoiseSchedule.of(scheduler);
    }

    /** What it predicts. */
    public PredictionType prediction() {
      return PredictionType.of(scheduler);
    }
  }

  /**
   * The guided teacher's ODE from pure noise to the final level, in that many evaluations.
   *
   * @param noise [B, C, h, w]
   * @return samples of the same shape, float32
   */
  public Tensor solved(
      TeacherSolver solver, int evaluations, double guidance, Tensor noise, Conditioning told) {
    return new PfOdeSolver(teacher.schedule(), teacher.prediction(), solver, evaluations)
        .solve(
            guided(teacher.net(), told, guidance),
            noise,
            Collections.nCopies((int) noise.size(0), new TimeWindows(1).window(1)));
  }

  /** {@code condition} with the empty caption in about that part of its rows. */
  public Conditioning dropped(Conditioning condition, double part, Rng rng) {
    if (part == 0) {
      return condition;
    }
    double[] u = Tensor.rand(rng, condition.text().size(0)).toDoubleArray();
    boolean[] keep = new boolean[u.length];
    for (int i = 0; i < keep.length; i++) {
      keep[i] = u[i] >= part;
    }
    return condition.keep(keep, data.nullCondition());
  }

  /** {@code net} on captions, guided by {@code scale} (1 = not) away from the empty one. */
  public Denoiser guided(Net net, Conditioning condition, double scale) {
    return net.guided(condition, data.nullCondition(), scale);
  }
}
