package org.perflow.distill.consistency;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.perflow.distill.Method;
import org.perflow.distill.Task;
import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.memory.Beside;
import org.perflow.models.SchedulerConfig;
import org.perflow.train.Objective;

/**
 * Trajectory consistency distillation (Zheng et al., arXiv 2402.19159): the consistency function
 * leads to any cleaner level of the trajectory, by DDIM, so that sampling may go part of the way
 * and add little noise, where LCM goes to the picture and adds it all.
 */
public final class TcdMethod implements Method<TcdOptions> {
  private static final int STUDENT_STEPS = 4;

  @Override
  public String name() {
    return "tcd";
  }

  @Override
  public String advice() {
    return "4 to 16 steps with as much fresh noise as eta says: detail at many steps";
  }

  @Override
  public TcdOptions defaults() {
    return TcdOptions.DEFAULTS;
  }

  @Override
  public void require(ObjectNode teacher, TcdOptions options) {
    ConsistencyObjective.require(teacher, options.settings());
  }

  /** The averaged network. */
  @Override
  public Beside beside(TcdOptions options) {
    return new Beside(0, options.targetDecay() > 0 ? 1 : 0);
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, TcdOptions options) {
    ObjectNode config =
        Schedulers.config("tcd", teacher)
            .put("original_inference_steps", options.gridSteps())
            .put("eta", options.eta())
            .put(SchedulerConfig.STEPS, STUDENT_STEPS);
    return options.guidance() == 1
        ? config
        : config.put(SchedulerConfig.GUIDANCE, 1.0); // it is in the weights
  }

  @Override
  public Objective objective(Task task, TcdOptions options) {
    NoiseSchedule schedule = task.teacher().schedule();
    PredictionType prediction = task.teacher().prediction();
    return new ConsistencyObjective(task, options.settings(), new ToAnyLevel(schedule, prediction));
  }

  /** f(z; n → s) = DDIM from n to s (eq. 17), s uniform below the end of the teacher's step. */
  record ToAnyLevel(NoiseSchedule schedule, PredictionType prediction)
      implements ConsistencyObjective.Rule {
    @Override
    public int last() {
      return 0; // where diffusers' TCDScheduler ends
    }

    @Override
    public int goal(int to, double u) {
      return (int) (u * (to + 1));
    }

    @Override
    public Affine jump(int from, int goal) {
      return ConsistencyObjective.ddim(schedule, prediction, from, goal);
    }
  }
}
