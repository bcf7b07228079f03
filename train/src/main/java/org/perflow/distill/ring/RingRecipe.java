package org.perflow.distill.ring;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.function.Supplier;
import org.perflow.distill.Method;
import org.perflow.distill.Net;
import org.perflow.distill.consistency.LcmMethod;
import org.perflow.distill.consistency.LcmOptions;
import org.perflow.distill.consistency.PcmMethod;
import org.perflow.distill.consistency.PcmOptions;
import org.perflow.distill.consistency.TcdMethod;
import org.perflow.distill.consistency.TcdOptions;
import org.perflow.distill.matching.AdversarialMethod;
import org.perflow.distill.matching.AdversarialOptions;
import org.perflow.distill.matching.Dmd2Method;
import org.perflow.distill.matching.Dmd2Options;
import org.perflow.distill.matching.DmdMethod;
import org.perflow.distill.matching.DmdOptions;
import org.perflow.distill.matching.SwiftBrushMethod;
import org.perflow.distill.matching.SwiftBrushOptions;
import org.perflow.distill.perflow.PerflowMethod;
import org.perflow.distill.perflow.PerflowOptions;
import org.perflow.distill.progressive.ProgressiveMethod;
import org.perflow.distill.progressive.ProgressiveOptions;
import org.perflow.distill.rectified.InstaflowMethod;
import org.perflow.distill.rectified.InstaflowOptions;
import org.perflow.distill.rectified.ReflowMethod;
import org.perflow.distill.rectified.ReflowOptions;
import org.perflow.distill.rectified.ShortcutMethod;
import org.perflow.distill.rectified.ShortcutOptions;
import org.perflow.tensor.Compute;
import org.perflow.tensor.Rng;
import org.perflow.train.TrainOptions;
import org.perflow.train.TrainOptions.Decay;

/**
 * How a method learns the ring in some seconds of one core. Guidance is 1 everywhere, since
 * captions say nothing.
 *
 * @param method that trains
 * @param options its settings
 * @param teacher the closed form, with copies of the student's kind
 * @param student makes a network to train, the caller's to close
 * @param training of the run
 * @param steps that the student is drawn in: its own number, and others worth looking at
 * @param windows of time with a straight path or a consistency function each; 1 for none
 */
public record RingRecipe<O extends Record>(
    Method<O> method,
    O options,
    Net teacher,
    Supplier<Net> student,
    TrainOptions training,
    List<Integer> steps,
    int windows) {
  private static final int LORA_RANK = 32;

  /** Quick settings. */
  public static final TrainOptions TRAINING =
      TrainOptions.DEFAULTS
          .withBatch(256)
          .withLearningRate(2e-3)
          .withDecay(Decay.COSINE)
          .withWarmup(20)
          .withWeightDecay(0)
          .withEma(0.99)
          .withCompute(Compute.F32)
          .withCheckpointEvery(0);

  /** Of all methods, in the order of {@code Methods.ALL}. */
  public static final List<RingRecipe<?>> ALL =
      List.of(
          windowed(PerflowMethod.MEASURED),
          windowed(PerflowMethod.PUBLISHED),
          following(
              new ReflowMethod(),
              ReflowOptions.DEFAULTS.with(
                  o -> o.guidance(1).pairs(2048).pairSteps(40).captionDropout(0)),
              1200,
              2),
          following(
              new InstaflowMethod(),
              InstaflowOptions.DEFAULTS.with(
                  o -> o.perceptual(0.1).guidance(1).pairs(2048).pairSteps(40)),
              1500,
              1),
          following(
              new ProgressiveMethod(),
              ProgressiveOptions.DEFAULTS.with(o -> o.startSteps(16).guidance(1)),
              1500,
              4),
          following(LcmMethod.TOLD, LcmOptions.DEFAULTS, 1200, 4),
          new RingRecipe<>(
              LcmMethod.LORA,
              LcmOptions.LORA.withGuidance(1),
              Ring.TEACHER,
              RingRecipe::lora,
              TRAINING.withSteps(1200),
              List.of(4),
              1),
          following(
                  new PcmMethod(),
                  PcmOptions.DEFAULTS.with(o -> o.guidance(1).captionDropout(0)),
                  1200,
                  4)
              .inWindows(4),
          following(
              new TcdMethod(),
              TcdOptions.DEFAULTS.with(o -> o.guidance(1).captionDropout(0)),
              1200,
              4),
          matching(
              new DmdMethod(),
              DmdOptions.DEFAULTS.with(
                  o -> o.guidance(1).fakeUpdates(2).pairPool(256).solvingSteps(10)),
              400,
              1),
          matching(
              new Dmd2Method(),
              Dmd2Options.DEFAULTS.with(
                  o ->
                      o.guidance(1)
                          .fakeLearningRate(2e-3)
                          .ganWeight(0.1)
                          .discriminatorWeight(0.1)
                          .r1Weight(1)),
              300,
              4),
          matching(
              new SwiftBrushMethod(),
              SwiftBrushOptions.DEFAULTS.with(
                  o -> o.guidance(1).fakeUpdates(3).fakeLearningRate(3e-3).fakeRank(16)),
              450,
              1),
          matching(
              new AdversarialMethod(),
              AdversarialOptions.DEFAULTS.with(
                  o ->
                      o.guidance(1)
                          .fakeUpdates(2)
                          .fakeLearningRate(2e-3)
                          .distillationWeight(0.1)
                          .r1Weight(1)),
              400,
              4),
          following(
              new ShortcutMethod(),
              ShortcutOptions.DEFAULTS.with(
                  o -> o.guidance(1).pairs(4096).pairSteps(40).finestSteps(16)),
              1500,
              4));

  /**
   * The recipe of the method of that name.
   *
   * @throws IllegalArgumentException naming those there are
   */
  public static RingRecipe<?> of(String method) {
    return ALL.stream()
        .filter(recipe -> recipe.method.name().equals(method))
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "no method '%s'; expected one of %s"
                        .formatted(
                            method, ALL.stream().map(recipe -> recipe.method.name()).toList())));
  }

  /** How its students are drawn: the scheduler config that its method writes. */
  public ObjectNode sampler() {
    return method.scheduler(Ring.scheduler(), options);
  }

  /** Another number of training steps. */
  public RingRecipe<O> trainedFor(long trainingSteps) {
    return training(training.withSteps(trainingSteps));
  }

  /** Other settings of the run. */
  public RingRecipe<O> training(TrainOptions changed) {
    return new RingRecipe<>(method, options, teacher, student, changed, steps, windows);
  }

  private RingRecipe<O> inWindows(int count) {
    return new RingRecipe<>(method, options, teacher, student, training, steps, count);
  }

  /**
   * PeRFlow. Its first window is where ε's error would be 14 times itself: a student of its own.
   */
  private static RingRecipe<PerflowOptions> windowed(PerflowMethod method) {
    return new RingRecipe<>(
        method,
        method.defaults().with(o -> o.drawsPerChord(4).captionDropout(0)),
        RingGenerator.TEACHER,
        RingGenerator::pretrained,
        TRAINING.with(o -> o.steps(2000).learningRate(5e-3)),
        List.of(4, 8),
        4);
  }

  /** A method that follows the teacher's trajectories. */
  private static <O extends Record> RingRecipe<O> following(
      Method<O> method, O options, long trainingSteps, Integer... steps) {
    return new RingRecipe<>(
        method,
        options,
        Ring.TEACHER,
        RingNet::pretrained,
        TRAINING.withSteps(trainingSteps),
        List.of(steps),
        1);
  }

  /** A method that matches a distribution, with a student that may start from pure noise. */
  public static <O extends Record> RingRecipe<O> matching(
      Method<O> method, O options, long trainingSteps, int steps) {
    return new RingRecipe<>(
        method,
        options,
        RingGenerator.TEACHER,
        RingGenerator::pretrained,
        TRAINING.with(o -> o.steps(trainingSteps).batch(128).learningRate(1e-3)),
        List.of(steps),
        1);
  }

  private static Net lora() {
    try (Rng rng = Rng.seeded(2);
        Net net = RingNet.pretrained()) {
      return net.lora(LORA_RANK, rng);
    }
  }
}
