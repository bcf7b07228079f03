package org.perflow.distill.matching;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;
import org.perflow.distill.Method;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.memory.Beside;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
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

  /** The fake score. */
  @Override
  public Beside beside(SwiftBrushOptions options) {
    return FakeScore.beside(options.fakeRank());
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, SwiftBrushOptions options) {
    return FewStepStudent.scheduler(teacher, 1);
  }

  @Override
  public Objective objective(Task task, SwiftBrushOptions options) {
    return new Distillation(task, options);
  }

  private static final class Distillation extends MatchingObjective {
    private final SwiftBrushOptions options;
    private final FakeScore fake;
    private final ScoreMatching matching;

    Distillation(Task task, SwiftBrushOptions options) {
      super(task, 1, options.fakeUpdates());
      this.options = options;
      fake =
          own(
              new FakeScore(
                  task,
                  FakeScore.network(task, options.fakeRank()),
                  options.fakeLearningRate(),
                  FakeScore.Weight.SIGNAL,
                  Map.of()));
      matching = ScoreMatching.of(task, ScoreMatching.Weight.VARIANCE);
    }

    @Override
    void update(int rows, Rng rng) {
      fake.update(() -> fakeLoss(rows, rng));
    }

    /** Some captions are dropped, since the fake score is asked without, too. */
    @Override
    Tensor fakeLoss(Drawn drawn, Rng rng) {
      Conditioning told = task.dropped(drawn.condition(), options.captionDropout(), rng);
      return fake.loss(drawn.x(), told, rng);
    }

    @Override
    Tensor studentLoss(Tensor x, Conditioning condition, Step step) {
      return matching.loss(
          x,
          task.guided(task.teacher().net(), condition, options.guidance()),
          task.guided(fake.net(), condition, options.guidance()),
          step.rng());
    }
  }
}
