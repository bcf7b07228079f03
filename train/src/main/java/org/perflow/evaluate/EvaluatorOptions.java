package org.perflow.evaluate;

import io.soabase.recordbuilder.core.RecordBuilder;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Guidance;
import org.perflow.tensor.Compute;
import org.perflow.tensor.Device;

/**
 * Settings of an {@link Evaluator}. Immutable, valid once made.
 *
 * @param pictures of each system, 6 or more
 * @param teacherSteps steps of those that are no few-step students, the reference's first
 * @param studentSteps steps of few-step students
 * @param guidance scale of those that are no students; null for what the first student was taught,
 *     else the reference's own
 * @param studentGuidance scale of students; null for each one's own
 * @param seed of the first picture; the others count on from it
 * @param batch pictures drawn at a time
 * @param straightPictures trajectories of each system that straightness is measured on
 * @param compute element type of text encoder, U-Net and decoder
 * @param device where models draw and pictures are compared
 * @param resamples bootstrap resamples of the distances between sets, each as costly as a distance;
 *     null for 100, or 20 with TorchScript features
 * @param textAgreement whether to measure how often a picture's caption is found among others, for
 *     which a small network is trained first; left out where there are too few captions
 */
@RecordBuilder
public record EvaluatorOptions(
    int pictures,
    List<Integer> teacherSteps,
    List<Integer> studentSteps,
    @Nullable Double guidance,
    @Nullable Double studentGuidance,
    long seed,
    int batch,
    int straightPictures,
    Compute compute,
    Device device,
    @Nullable Integer resamples,
    boolean textAgreement)
    implements EvaluatorOptionsBuilder.With {
  /** A thousand pictures, the teacher in 50, 8 and 4 steps and the student in 4 and 8. */
  public static final EvaluatorOptions DEFAULTS =
      EvaluatorOptionsBuilder.builder()
          .pictures(1000)
          .teacherSteps(List.of(50, 8, 4))
          .studentSteps(List.of(4, 8))
          .seed(1_000_000)
          .batch(32)
          .straightPictures(8)
          .compute(Compute.AUTO)
          .device(Device.AUTO)
          .textAgreement(true)
          .build();

  public EvaluatorOptions {
    checkPictures(pictures);
    teacherSteps = checkSteps("teacherSteps", teacherSteps);
    studentSteps = checkSteps("studentSteps", studentSteps);
    atLeast("batch", batch, 1);
    atLeast("straightPictures", straightPictures, 1);
    if (guidance != null) {
      Guidance.of(guidance);
    }
    if (studentGuidance != null) {
      Guidance.of(studentGuidance);
    }
    if (resamples != null) {
      atLeast("resamples", resamples, 0);
    }
  }

  /** Refuses fewer pictures than can be measured. */
  public static void checkPictures(int pictures) {
    if (pictures < PrecisionRecall.FEWEST) {
      throw new IllegalArgumentException(
          "pictures must be %d or more, as precision and recall look at the nearest %d; got %d"
              .formatted(PrecisionRecall.FEWEST, PrecisionRecall.FEWEST - 1, pictures));
    }
  }

  /** A copy of {@code steps}, which are called {@code name}; refuses none, and any below 1. */
  public static List<Integer> checkSteps(String name, List<Integer> steps) {
    if (steps == null || steps.isEmpty() || steps.stream().anyMatch(n -> n == null || n < 1)) {
      throw new IllegalArgumentException(
          name + " must be one number or several, each 1 or more; got " + steps);
    }
    return List.copyOf(steps);
  }

  private static void atLeast(String name, int value, int least) {
    if (value < least) {
      throw new IllegalArgumentException(name + " must be " + least + " or more; got " + value);
    }
  }
}
