package org.perflow.flow;

import com.fasterxml.jackson.databind.JsonNode;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;

/**
 * How a model is drawn with where nobody asks otherwise, as its scheduler config says.
 *
 * @param steps of its sampler: the config's own number, else one a window of a PeRFlow model, else
 *     {@value #STEPS}
 * @param guidance the config's own scale, else {@link Guidance#DEFAULT}; a student with guidance in
 *     its weights says 1: guided again, it would draw something else
 * @param teacherGuidance of the teacher to compare a student with: the scale in its weights, else
 *     its own
 */
public record Recommended(int steps, double guidance, double teacherGuidance) {
  /** Where neither model nor caller says one: what diffusers' Stable Diffusion pipelines take. */
  public static final int STEPS = 50;

  /** Of {@code model}. */
  public static Recommended of(DiffusionModel model) {
    return of(model.schedulerConfig());
  }

  /** Of the model with that {@code scheduler_config.json}. */
  public static Recommended of(JsonNode schedulerConfig) {
    int steps =
        SchedulerConfig.isPerflow(schedulerConfig)
            ? SchedulerConfig.windows(schedulerConfig)
            : STEPS;
    double guidance = schedulerConfig.path(SchedulerConfig.GUIDANCE).asDouble(Guidance.DEFAULT);
    return new Recommended(
        schedulerConfig.path(SchedulerConfig.STEPS).asInt(steps),
        guidance,
        schedulerConfig.path(SchedulerConfig.TAUGHT_GUIDANCE).asDouble(guidance));
  }
}
