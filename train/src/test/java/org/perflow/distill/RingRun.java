package org.perflow.distill;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.Scheduler;
import org.perflow.flow.Schedulers;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Objective;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;

/** Trains a method on the ring and draws with what came out, as the command line would. */
final class RingRun {
  private static final int POINTS = 2000;

  private RingRun() {}

  /** Quick settings: Adam as the specification's toys have it. */
  static final TrainOptions TRAINING =
      TrainOptions.DEFAULTS
          .with("batch", 256)
          .with("learningRate", 2e-3)
          .with("decay", "COSINE")
          .with("warmup", 20)
          .with("weightDecay", 0)
          .with("ema", 0.99)
          .with("compute", "F32")
          .with("checkpointEvery", 0);

  /** What a student draws, and how far that is from the data and from the teacher. */
  record Figures(double energy, double paired) {}

  /** Trains a student, resuming where {@code folder} holds a run; figures of the averaged one. */
  static <O extends Record> Figures train(
      Method<O> method, O options, Net student, TrainOptions training, Path folder, int steps)
      throws IOException {
    return train(method, options, Ring.TEACHER, student, training, folder, steps);
  }

  /** The same with another network as the closed-form teacher. */
  static <O extends Record> Figures train(
      Method<O> method,
      O options,
      Net closedForm,
      Net student,
      TrainOptions training,
      Path folder,
      int steps)
      throws IOException {
    Device.threads(1);
    method.require(Ring.SCHEDULER, options);
    var teacher = new Task.Teacher(closedForm, Ring.SCHEDULER);
    Task task = new Task(new Ring(), teacher, student, false, training, folder);
    Figures[] figures = new Figures[1];
    try (Objective objective = method.objective(task, options);
        Trainer trainer = new Trainer(objective, training, folder)) {
      trainer.resume();
      trainer.run();
      ObjectNode scheduler = method.scheduler(Ring.SCHEDULER, options);
      trainer.withAverages(() -> figures[0] = figures(student, scheduler, steps));
    }
    return figures[0];
  }

  /** Figures of a student in {@code steps} steps of the scheduler that its method writes. */
  static Figures figures(Net student, ObjectNode scheduler, int steps) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(77)) {
      Tensor drawn = draw(student, scheduler, steps);
      Tensor reference = draw(Ring.TEACHER, Ring.SCHEDULER, 200);
      Tensor data = Ring.points(POINTS, rng);
      double paired = drawn.sub(reference).square().sum(1).mean().item();
      return new Figures(energyDistance(drawn, data), Math.sqrt(paired));
    }
  }

  /** From noise that is the same for all. */
  static Tensor draw(Net net, ObjectNode config, int steps) {
    try (Scheduler scheduler = Schedulers.create(config, steps);
        Rng start = Rng.seeded(99);
        Rng later = Rng.seeded(100)) {
      double[] timesteps = scheduler.timesteps();
      Tensor z = Tensor.randn(start, POINTS, 2, 1, 1).mul(scheduler.initNoiseSigma());
      for (int i = 0; i < timesteps.length; i++) {
        Conditioning told = Conditioning.of(Tensor.full(0, POINTS, 1));
        double cond = scheduler.timestepCond(i);
        if (!Double.isNaN(cond)) {
          told = told.withTimestepCond(Tensor.full(cond, POINTS));
        }
        float[] now = new float[POINTS];
        Arrays.fill(now, (float) timesteps[i]);
        Denoiser denoiser = net.given(told);
        Tensor output = denoiser.predict(scheduler.scaleModelInput(z, i), Tensor.of(now));
        z = scheduler.step(output, i, z, x -> Tensor.randn(later, x.shape()));
      }
      return z;
    }
  }

  /** √(2 E|X−Y| − E|X−X'| − E|Y−Y'|) (Székely and Rizzo 2013), the diagonal left out. */
  static double energyDistance(Tensor x, Tensor y) {
    double between = distances(x, y).mean().item();
    return Math.sqrt(Math.max(0, 2 * between - within(x) - within(y)));
  }

  private static double within(Tensor x) {
    long n = x.size(0);
    return distances(x, x).sum().item() / (n * (n - 1));
  }

  private static Tensor distances(Tensor x, Tensor y) {
    Tensor a = x.reshape(x.size(0), 1, 2);
    Tensor b = y.reshape(1, y.size(0), 2);
    return a.sub(b).square().sum(2).add(1e-12).sqrt(); // [N, M]
  }
}
