package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.distill.Formula;
import org.perflow.distill.Task;
import org.perflow.distill.perflow.PerflowObjective;
import org.perflow.distill.perflow.PerflowOptions;
import org.perflow.distill.ring.Ring;
import org.perflow.flow.Denoiser;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.sampler.PerflowScheduler;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Functional;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;
import org.perflow.train.TrainOptions.Decay;

/**
 * PeRFlow on a ring of eight Gaussians, whose teacher is known in closed form: a student of K
 * windows must be as good in K steps as in 4K. It is not where time is drawn continuously, since
 * the target jumps at the window starts, exactly where it is evaluated.
 */
class RingTest {
  private static final TimeWindows FOUR = new TimeWindows(4);
  private static final Denoiser TEACHER = Ring.TEACHER.given(new Ring().nullCondition());
  @TempDir Path temp;

  /** Errors of the student in 4 and in 16 steps and of the teacher's DDIM in 4. */
  private record Errors(double four, double sixteen, double ddim) {}

  @Test
  void asGoodInFourStepsAsInSixteen() throws IOException {
    check(train(96, 3, 16, 4, 2500, 512));
  }

  @Test
  @Tag("slow")
  void asGoodInFourStepsAsInSixteenAtLength() throws IOException {
    check(train(160, 4, 200, 8, 8000, 1024));
  }

  private static void check(Errors errors) {
    System.out.println(errors);
    assertThat(errors.four()).isLessThan(1.5 * errors.sixteen());
    assertThat(errors.four()).isLessThan(0.4 * errors.ddim());
  }

  private Errors train(int width, int depth, int grid, int solvingSteps, int steps, int batch)
      throws IOException {
    Device.threads(1);
    PerflowOptions options =
        PerflowOptions.PUBLISHED
            .withParameterization(Parameterization.VELOCITY)
            .withSolvingSteps(solvingSteps)
            .withDrawsPerChord(4)
            .withDiscreteTimesteps(grid);
    TrainOptions training =
        TrainOptions.DEFAULTS
            .withSteps(steps)
            .withBatch(batch)
            .withLearningRate(5e-3)
            .withDecay(Decay.COSINE)
            .withWeightDecay(0)
            .withEma(0.995)
            .withCompute(Compute.F32)
            .withCheckpointEvery(0);
    double[] errors = new double[2];
    try (Student student = new Student(width, depth);
        Rng rng = Rng.seeded(0)) {
      student.initialise(rng, DType.F32);
      var learner = new Formula((z, t, told) -> student.predict(z, t), student.namedParameters());
      var teacher = new Task.Teacher(Ring.TEACHER, Ring.scheduler());
      var objective = new PerflowObjective(Gaussian.task(new Ring(), teacher, learner), options);
      try (Trainer trainer = new Trainer(objective, training, temp)) {
        trainer.run();
        trainer.withAverages(
            () -> {
              errors[0] = error(scope -> sample(student, 4));
              errors[1] = error(scope -> sample(student, 16));
            });
      }
    }
    return new Errors(errors[0], errors[1], error(scope -> teach(1)));
  }

  // ---------------------------------------------------------------- the student

  /** SiLU layers over z and Fourier features of t fine enough to tell the grid's points apart. */
  private static final class Student extends Module implements Denoiser {
    private static final int OCTAVES = 6;
    private final Linear[] layers;

    Student(int width, int depth) {
      layers = new Linear[depth + 1];
      for (int i = 0; i <= depth; i++) {
        int in = i == 0 ? 2 + 2 * OCTAVES : width;
        layers[i] = child("layers." + i, new Linear(in, i == depth ? 2 : width));
      }
    }

    @Override
    public Tensor predict(Tensor z, Tensor timesteps) {
      float[] frequencies = new float[OCTAVES];
      for (int i = 0; i < OCTAVES; i++) {
        frequencies[i] = (float) (Math.PI * (1 << i));
      }
      Tensor angle = timesteps.div(1000).unsqueeze(1).mul(Tensor.of(frequencies, 1, OCTAVES));
      Tensor x = Tensor.cat(1, z.reshape(z.size(0), 2), angle.sin(), angle.cos());
      for (int i = 0; i < layers.length - 1; i++) {
        x = Functional.silu(layers[i].forward(x));
      }
      return layers[layers.length - 1].forward(x).reshape(z.shape());
    }
  }

  // ---------------------------------------------------------------- how far off

  private interface Sampler {
    Tensor sample(Scope scope);
  }

  /** Root mean square distance to where the teacher's finely solved ODE takes the same noise. */
  private static double error(Sampler sampler) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor difference = sampler.sample(scope).sub(teach(50));
      return Math.sqrt(difference.square().sum(1).mean().item());
    }
  }

  private static final Scheduler.NoiseSource NO_NOISE =
      z -> {
        throw new AssertionError("PeRFlow's sampler is deterministic");
      };

  private static Tensor noise() {
    try (Rng rng = Rng.seeded(99)) {
      return Tensor.randn(rng, 1000, 2, 1, 1);
    }
  }

  private static Tensor teach(int stepsPerWindow) {
    PfOdeSolver solver = new PfOdeSolver(Ring.SCHEDULE, PredictionType.EPSILON, stepsPerWindow);
    Tensor z = noise();
    for (TimeWindows.Window window : FOUR.noisyToClean()) {
      z = solver.solve(TEACHER, z, Collections.nCopies((int) z.size(0), window));
    }
    return z;
  }

  private static Tensor sample(Denoiser student, int steps) {
    var flow = new org.perflow.flow.PiecewiseFlow(Ring.SCHEDULE, FOUR, Parameterization.VELOCITY);
    PerflowScheduler scheduler = new PerflowScheduler(flow, steps);
    Tensor z = noise();
    for (int i = 0; i < steps; i++) {
      float[] now = new float[(int) z.size(0)];
      Arrays.fill(now, (float) scheduler.timesteps()[i]);
      z = scheduler.step(student.predict(z, Tensor.of(now)), i, z, NO_NOISE);
    }
    return z;
  }
}
