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
 * Phased consistency models (Wang et al., arXiv 2405.18407): time is cut into K phases like
 * PeRFlow's windows, and from every level the consistency function leads, by DDIM, to the clean end
 * of the phase it is in. K steps of DDIM draw with it, deterministically. Without the paper's
 * adversarial term.
 */
public final class PcmMethod implements Method<PcmOptions> {
  @Override
  public String name() {
    return "pcm";
  }

  @Override
  public String advice() {
    return "PeRFlow's windows learned by consistency; as many steps as phases, no noise";
  }

  @Override
  public PcmOptions defaults() {
    return PcmOptions.DEFAULTS;
  }

  @Override
  public void require(ObjectNode teacher, PcmOptions options) {
    ConsistencyObjective.require(teacher, options.settings());
  }

  /** The averaged network. */
  @Override
  public Beside beside(PcmOptions options) {
    return new Beside(0, options.targetDecay() > 0 ? 1 : 0);
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, PcmOptions options) {
    ObjectNode config =
        Schedulers.trailingDdim(teacher).put(SchedulerConfig.STEPS, options.phases());
    return options.guidance() == 1
        ? config
        : config.put(SchedulerConfig.GUIDANCE, 1.0); // it is in the weights
  }

  @Override
  public Objective objective(Task task, PcmOptions options) {
    NoiseSchedule schedule = task.teacher().schedule();
    PredictionType prediction = task.teacher().prediction();
    return new ConsistencyObjective(
        task, options.settings(), new ToPhaseEnd(schedule, prediction, options.phases()));
  }

  /** f(z; n → s) = DDIM from n to s (eq. 7), s the clean end of the phase: 749, 499, 249, −1. */
  record ToPhaseEnd(NoiseSchedule schedule, PredictionType prediction, int phases)
      implements ConsistencyObjective.Rule {
    @Override
    public int last() {
      return -1;
    }

    /** A teacher step that ends on an edge ends at its own phase's goal. */
    @Override
    public int goal(int to, double u) {
      int width = schedule.size() / phases;
      return (to + 1) / width * width - 1;
    }

    @Override
    public Affine jump(int from, int goal) {
      return ConsistencyObjective.ddim(schedule, prediction, from, goal);
    }
  }
}
