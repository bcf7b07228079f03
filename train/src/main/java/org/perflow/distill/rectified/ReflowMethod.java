package org.perflow.distill.rectified;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Map;
import org.perflow.distill.Method;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Objective;

/**
 * Rectified flow (Liu et al. 2022, arXiv 2209.03003): the student learns the velocity of straight
 * lines. On the teacher's own pairs of noise and picture that is reflow, which makes the teacher's
 * paths straight (algorithm 1, step k → k + 1; a diffusion teacher is in the place of 1-rectified
 * flow, as in InstaFlow, arXiv 2309.06380); on data and any noise it is 1-rectified flow, flow
 * matching. k-rectified flow is k runs, each with the last one's student as the teacher: such a
 * student is a flow-matching model.
 *
 * <p>The student starts with the teacher's weights also where the teacher predicts ε, though what
 * its output means changes to the velocity.
 */
public final class ReflowMethod implements Method<ReflowOptions> {
  private static final int STRAIGHT_STEPS = 4;
  private static final int CURVED_STEPS = 25;

  @Override
  public String name() {
    return "reflow";
  }

  @Override
  public String advice() {
    return "1 to 8 steps along straight lines; again on its student for 3-rectified flow";
  }

  @Override
  public ReflowOptions defaults() {
    return ReflowOptions.DEFAULTS;
  }

  @Override
  public void require(ObjectNode teacher, ReflowOptions options) {
    options.pairSettings().require(teacher);
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, ReflowOptions options) {
    boolean curved = options.coupling() != Coupling.PAIRS;
    boolean guidedAlready = options.coupling() != Coupling.DATA;
    return StraightLines.scheduler(
        SchedulerConfig.FLOW_MATCHING,
        curved ? CURVED_STEPS : STRAIGHT_STEPS,
        guidedAlready ? 1 : options.guidance());
  }

  @Override
  public Objective objective(Task task, ReflowOptions options) {
    var lines = new StraightLines(task, options.coupling(), options.pairSettings());
    return new Reflow(task, options, lines);
  }

  private record Reflow(Task task, ReflowOptions options, StraightLines lines)
      implements Objective {
    @Override
    public Map<String, Parameter> parameters() {
      return task.student().parameters();
    }

    @Override
    public int examples() {
      return lines.size();
    }

    @Override
    public List<long[]> groups() {
      return lines.groups();
    }

    /** E|v(z_t, t) − (noise − data)|², eq. 1. */
    @Override
    public Tensor loss(Step step) {
      double[] t = StraightLines.times(step.examples().length, step.rng());
      Tensor zt;
      Tensor velocity;
      Conditioning told;
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        TeacherPairs.Batch ends = lines.ends(step.examples(), step.rng());
        zt = scope.keep(StraightLines.at(t, ends)); // [B, C, h, w]
        velocity = scope.keep(ends.noise().sub(ends.sample()));
        told =
            task.dropped(ends.condition(), options.captionDropout(), step.rng()).each(scope::keep);
      }
      Tensor predicted = task.student().given(told).predict(zt, StraightLines.told(t));
      return predicted.sub(velocity).square().mean();
    }

    @Override
    public double preparationSeconds() {
      return lines.seconds();
    }

    @Override
    public void close() {
      lines.close();
    }
  }
}
