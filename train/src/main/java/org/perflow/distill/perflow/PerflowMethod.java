package org.perflow.distill.perflow;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.perflow.distill.Checks;
import org.perflow.distill.Method;
import org.perflow.distill.Task;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.sampler.PerflowScheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.models.SchedulerConfig;
import org.perflow.train.Objective;

/** Piecewise rectified flow (Yan et al., arXiv 2405.07510): {@link PerflowObjective}. */
public final class PerflowMethod implements Method<PerflowOptions> {
  /** {@code perflow}: by the settings that we measured to be best. */
  public static final PerflowMethod MEASURED =
      new PerflowMethod(
          "perflow",
          "4 to 8 steps that follow the teacher; what it learns carries over to fine-tunes",
          PerflowOptions.DEFAULTS);

  /** {@code perflow-published}: by those of the paper. */
  public static final PerflowMethod PUBLISHED =
      new PerflowMethod(
          "perflow-published",
          "perflow by the paper's settings, to compare with",
          PerflowOptions.PUBLISHED);

  private final String name;
  private final String advice;
  private final PerflowOptions defaults;

  private PerflowMethod(String name, String advice, PerflowOptions defaults) {
    this.name = name;
    this.advice = advice;
    this.defaults = defaults;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String advice() {
    return advice;
  }

  @Override
  public PerflowOptions defaults() {
    return defaults;
  }

  /** The parameterisation that goes with what the teacher predicts. */
  @Override
  public PerflowOptions suited(ObjectNode teacher, PerflowOptions options) {
    return options.withParameterization(Parameterization.natural(PredictionType.of(teacher)));
  }

  @Override
  public void require(ObjectNode teacher, PerflowOptions options) {
    Checks.signal(teacher);
    options.parameterization().requireStart(PredictionType.of(teacher));
  }

  @Override
  public double mixedCaptions(PerflowOptions options) {
    return options.mixedCaptions();
  }

  /** A batch of one has room for one time of a chord, in one window. */
  @Override
  public boolean splits(PerflowOptions options) {
    return options.drawsPerChord() == 1 && !options.simulatedStarts();
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, PerflowOptions options) {
    ObjectNode config =
        switch (options.path()) {
          case DDIM -> Schedulers.trailingDdim(teacher);
          case CHORD ->
              PerflowScheduler.config(
                  teacher,
                  new TimeWindows(options.windows()),
                  options.parameterization(),
                  NoiseSchedule.of(teacher).finalAlphaBar() == 1);
        };
    switch (options.guidanceMode()) {
      case FIXED ->
          config
              .put(SchedulerConfig.GUIDANCE, 1.0)
              .put(SchedulerConfig.TAUGHT_GUIDANCE, options.guidance());
      case MATCHED -> config.put(SchedulerConfig.GUIDANCE, options.guidance());
      case SYNC -> {} // any, as for the teacher
    }
    return config.put(SchedulerConfig.STEPS, options.windows());
  }

  @Override
  public Objective objective(Task task, PerflowOptions options) {
    return new PerflowObjective(task, options);
  }
}
