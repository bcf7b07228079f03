package org.perflow.distill.consistency;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.perflow.distill.Checks;
import org.perflow.distill.Method;
import org.perflow.distill.Task;
import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.memory.Beside;
import org.perflow.models.SchedulerConfig;
import org.perflow.models.UNetConfig;
import org.perflow.train.LoraOptions;
import org.perflow.train.Objective;

/**
 * Latent consistency models (Luo et al., arXiv 2310.04378): the goal of the consistency function is
 * the picture, from every level, and the student is told its guidance as a number. LCM-LoRA (Luo et
 * al., arXiv 2311.05556) is the same for one guidance, of low-rank factors.
 */
public final class LcmMethod implements Method<LcmOptions> {
  private static final int STUDENT_STEPS = 4;
  private static final int GUIDANCE_WAVES = 256; // as the published students have
  private static final double SIGMA_DATA = 0.5;
  private static final double TIMESTEP_SCALING = 10;

  /** {@code lcm}: the student is told its guidance. */
  public static final LcmMethod TOLD =
      new LcmMethod("lcm", LcmOptions.DEFAULTS, LoraOptions.DEFAULTS);

  /** {@code lcm-lora}: low-rank factors for one guidance. */
  public static final LcmMethod LORA =
      new LcmMethod("lcm-lora", LcmOptions.LORA, new LoraOptions(64, 0));

  private final String name;
  private final LcmOptions defaults;
  private final LoraOptions lora;

  private LcmMethod(String name, LcmOptions defaults, LoraOptions lora) {
    this.name = name;
    this.defaults = defaults;
    this.lora = lora;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String advice() {
    return lora.lowRank()
        ? "lcm as a LoRA, for one guidance: goes with other fine-tunes and their LoRAs"
        : "1 to 8 steps at a guidance chosen in drawing; more of them change the picture";
  }

  @Override
  public LcmOptions defaults() {
    return defaults;
  }

  @Override
  public LoraOptions lora() {
    return lora;
  }

  @Override
  public void require(ObjectNode teacher, LcmOptions options) {
    ConsistencyObjective.require(teacher, options.settings());
  }

  @Override
  public void require(LoraOptions lora, LcmOptions options) {
    Checks.that(
        !(lora.lowRank() && options.told()),
        "the layer that tells the student its guidance is no part of a LoRA: choose the method"
            + " lcm-lora, which has one guidance, or train all weights (loraRank 0)");
    Checks.that(
        lora.lowRank() || !this.lora.lowRank(),
        name + " trains low-rank factors: choose a loraRank of 1 or more, or the method lcm");
  }

  @Override
  public UNetConfig student(UNetConfig teacher, LcmOptions options) {
    return options.told() ? teacher.withTimeCondProjDim(GUIDANCE_WAVES) : teacher;
  }

  /** The averaged network. */
  @Override
  public Beside beside(LcmOptions options) {
    return new Beside(0, options.targetDecay() > 0 ? 1 : 0);
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, LcmOptions options) {
    return Schedulers.config("lcm", teacher)
        .put("original_inference_steps", options.gridSteps())
        .put("timestep_scaling", TIMESTEP_SCALING)
        .put(SchedulerConfig.STEPS, STUDENT_STEPS)
        .put(SchedulerConfig.GUIDANCE, options.told() ? options.guidance() : 1.0);
  }

  @Override
  public Objective objective(Task task, LcmOptions options) {
    NoiseSchedule schedule = task.teacher().schedule();
    PredictionType prediction = task.teacher().prediction();
    return new ConsistencyObjective(task, options.settings(), new ToData(schedule, prediction));
  }

  /** f = c_skip z + c_out x0 (Luo et al., section 4.1), which is z at level 0. */
  record ToData(NoiseSchedule schedule, PredictionType prediction)
      implements ConsistencyObjective.Rule {
    @Override
    public int last() {
      return 0;
    }

    @Override
    public int goal(int to, double u) {
      return 0;
    }

    @Override
    public Affine jump(int from, int goal) {
      double scaled = from * TIMESTEP_SCALING;
      double norm = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
      double skip = SIGMA_DATA * SIGMA_DATA / norm;
      double out = scaled / Math.sqrt(norm);
      Affine data = prediction.data(schedule.alpha(from), schedule.sigma(from));
      return new Affine(skip + out * data.a(), out * data.b());
    }
  }
}
