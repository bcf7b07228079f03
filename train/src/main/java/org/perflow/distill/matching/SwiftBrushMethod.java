package org.perflow.distill.matching;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;
import org.perflow.distill.Method;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Examples;
import org.perflow.train.Objective;

/**
 * SwiftBrush (Nguyen and Tran 2023, arXiv 2312.05239): variational score distillation into a
 * one-step student from captions alone. The score of the student's own distribution is the teacher
 * with low-rank factors. A step costs {@code fakeUpdates} passes of the student and updates of the
 * fake score, then one update of the student against four passes (both scores are guided).
 */
public final class SwiftBrushMethod implements Method<SwiftBrushOptions> {
  @Override
  public String name() {
    return "swiftbrush";
  }

  @Override
  public String advice() {
    return "1 step, from captions without any pictures";
  }

  @Override
  public SwiftBrushOptions defaults() {
    return SwiftBrushOptions.DEFAULTS;
  }

  @Override
  public void require(ObjectNode teacher, SwiftBrushOptions options) {
    FewStepStudent.require(teacher, 1);
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, SwiftBrushOptions options) {
    return FewStepStudent.scheduler(teacher, 1);
  }

  @Override
  public Objective objective(Task task, SwiftBrushOptions options) {
    return new Distillation(task, options);
  }

  private static final class Distillation implements Objective {
    private final Task task;
    private final Examples data;
    private final SwiftBrushOptions options;
    private final FewStepStudent student;
    private final FakeScore fake;
    private final ScoreMatching matching;

    Distillation(Task task, SwiftBrushOptions options) {
      this.task = task;
      this.options = options;
      data = task.data();
      student = new FewStepStudent(task, 1);
      fake =
          new FakeScore(
              task,
              FakeScore.network(task, options.fakeRank()),
              options.fakeLearningRate(),
              FakeScore.Weight.SIGNAL,
              Map.of());
      matching = ScoreMatching.of(task, ScoreMatching.Weight.VARIANCE);
    }

    @Override
    public Map<String, Parameter> parameters() {
      return task.student().parameters();
    }

    @Override
    public int examples() {
      return data.size();
    }

    @Override
    public Tensor loss(Step step) {
      Rng rng = step.rng();
      int rows = step.examples().length;
      for (int i = 0; i < options.fakeUpdates(); i++) {
        fake.update(() -> fakeLoss(rows, rng));
      }
      Conditioning condition = data.conditions(step.examples(), rng);
      Tensor x = student.data(condition, student.start(condition, rng)); // [B, C, h, w]
      return matching.loss(
          x,
          task.guided(task.teacher().net(), condition, options.guidance()),
          task.guided(fake.net(), condition, options.guidance()),
          rng);
    }

    /** On captions of their own; some are dropped, since the fake score is asked without, too. */
    private Tensor fakeLoss(int rows, Rng rng) {
      long[] examples = Tensor.randint(rng, data.size(), rows).toLongArray();
      Conditioning condition = data.conditions(examples, rng);
      Tensor drawn = student.drawn(condition, rng);
      return fake.loss(drawn, task.dropped(condition, options.captionDropout(), rng), rng);
    }

    @Override
    public Map<String, Tensor> state() {
      return fake.state();
    }

    @Override
    public void close() {
      fake.close();
    }
  }
}
