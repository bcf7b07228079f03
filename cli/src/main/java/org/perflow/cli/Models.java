package org.perflow.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Guidance;
import org.perflow.flow.sampler.PerflowScheduler;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.tensor.DType;

/** Model folders named on the command line. */
final class Models {
  private Models() {}

  /** Loads a folder or a single file, or says what it lacks. The caller closes it. */
  static DiffusionModel load(Path folder, DType as) throws IOException {
    if (!Files.exists(folder)) {
      throw new NoSuchFileException(
          folder.toString(),
          null,
          "there is no such model; name a diffusers folder or a single-file checkpoint");
    }
    return DiffusionModel.load(folder, as);
  }

  /** Refuses prompts that are longer than the model reads; {@code advice} says what to do. */
  static void refuseCut(Pipeline pipe, List<Request> requests, String advice) {
    List<String> cut = pipe.warnings(requests);
    if (!cut.isEmpty()) {
      throw new IllegalArgumentException(cut.get(0) + "; " + advice);
    }
  }

  /** The guidance that a model says it was made for, else {@link Guidance#DEFAULT}. */
  static double guidance(DiffusionModel model) {
    return Guidance.own(model.schedulerConfig());
  }

  /** What was asked for, else the model's own. */
  static Guidance guidance(DiffusionModel model, @Nullable String asked) {
    return asked == null ? Guidance.of(guidance(model)) : Guidance.parse(asked);
  }

  /** The guidance of the teacher that a student follows: in its weights, or the student's own. */
  static double teacherGuidance(DiffusionModel student) {
    return student
        .schedulerConfig()
        .path(SchedulerConfig.TAUGHT_GUIDANCE)
        .asDouble(guidance(student));
  }

  /** What the model says it was made for; else one step a window for a PeRFlow model, or 50. */
  static int defaultSteps(DiffusionModel model) {
    return model
        .schedulerConfig()
        .path(SchedulerConfig.STEPS)
        .asInt(isPerflow(model) ? windows(model) : 50);
  }

  /** Time windows of a PeRFlow model, else 4. */
  static int windows(DiffusionModel model) {
    return isPerflow(model) ? PerflowScheduler.flow(model.schedulerConfig()).windows().count() : 4;
  }

  /** Whether it is sampled window by window. */
  static boolean isPerflow(DiffusionModel model) {
    return SchedulerConfig.isPerflow(model.schedulerConfig());
  }
}
