package org.perflow.examples;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.perflow.accelerate.Accelerator;
import org.perflow.distill.Method;
import org.perflow.distill.Task;
import org.perflow.flow.Affine;
import org.perflow.flow.Conditioning;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.TeacherSolver;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Objective;
import org.perflow.train.TrainOptions;

/**
 * A method of one's own, whole: the student learns to make in one DDIM step what the teacher makes
 * of the same noise in many. {@code OwnMethod models/emoji-64 data/emoji-64 runs/own 200}.
 */
public final class OwnMethod implements Method<OwnMethod.Options> {
  /** Evaluations of the teacher a picture, and its guidance (1 = none). */
  public record Options(int evaluations, double guidance) {}

  /** Takes the teacher's folder, a folder with {@code train-*.tar}, the run's folder and steps. */
  public static void main(String[] args) throws IOException {
    Accelerator.of(Path.of(args[0]))
        .data(Path.of(args[1]))
        .method(new OwnMethod(), UnaryOperator.identity())
        .train(TrainOptions.DEFAULTS.withSteps(Integer.parseInt(args[3])))
        .out(Path.of(args[2]))
        .run();
  }

  @Override
  public String name() {
    return "regression";
  }

  @Override
  public String advice() {
    return "1 step that is the mean of what the teacher might have drawn";
  }

  @Override
  public Options defaults() {
    return new Options(8, 1);
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, Options options) {
    return Schedulers.trailingDdim(teacher)
        .put(SchedulerConfig.STEPS, 1)
        .put(SchedulerConfig.GUIDANCE, 1.0); // the teacher's is in the student's weights
  }

  @Override
  public Objective objective(Task task, Options options) {
    NoiseSchedule schedule = task.teacher().schedule();
    int noisiest = schedule.size() - 1;
    Affine toData = task.teacher().prediction().ddim(schedule, noisiest, -1);
    return new Objective() {
      @Override
      public Map<String, Parameter> parameters() {
        return task.student().parameters();
      }

      @Override
      public int examples() {
        return task.data().size();
      }

      @Override
      public Tensor loss(Step step) {
        Conditioning told = task.data().conditions(step.examples(), step.rng());
        Tensor z0 = task.data().latents(step.examples(), step.rng()); // for its shape alone
        Tensor noise = Tensor.randn(step.rng(), z0.shape());
        Tensor wanted;
        try (Scope scope = Scope.open();
            NoGrad guard = NoGrad.enter()) { // the teacher needs no gradients
          wanted =
              scope.keep(
                  task.solved(
                      TeacherSolver.DDIM, options.evaluations(), options.guidance(), noise, told));
        }
        Tensor times = Tensor.full(noisiest, noise.size(0));
        Tensor output = task.student().given(told).predict(noise, times); // [B, C, h, w]
        return toData.apply(noise, output).sub(wanted).square().mean();
      }
    };
  }
}
