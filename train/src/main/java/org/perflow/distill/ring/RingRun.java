package org.perflow.distill.ring;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import org.perflow.distill.Method;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.flow.sampler.Sampling;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Objective;
import org.perflow.train.Trainer;

/**
 * Trains a method on the ring and draws with what came out, as the command line would. Tensors are
 * small: {@code Device.threads(1)} is fastest.
 */
public final class RingRun {
  /** Points of every drawn set. */
  public static final int POINTS = 2000;

  private static final int FINE_STEPS = 200;

  private RingRun() {}

  /**
   * What a student draws.
   *
   * @param energy energy distance to the ring
   * @param paired root mean square distance to where the teacher takes the same noise
   */
  public record Figures(double energy, double paired) {}

  /**
   * Trains a student, resuming where {@code folder} holds a run.
   *
   * @param then is given the student with its averaged weights
   */
  public static <O extends Record> void train(
      RingRecipe<O> recipe, Net student, Path folder, Consumer<Net> then) throws IOException {
    Method<O> method = recipe.method();
    method.require(Ring.scheduler(), recipe.options());
    var teacher = new Task.Teacher(recipe.teacher(), Ring.scheduler());
    boolean continued = true; // a network near the closed form is no copy of it
    Task task = new Task(new Ring(), teacher, student, continued, recipe.training(), folder);
    try (Objective objective = method.objective(task, recipe.options());
        Trainer trainer = new Trainer(objective, recipe.training(), folder)) {
      trainer.resume();
      trainer.run();
      trainer.withAverages(() -> then.accept(student));
    }
  }

  /** The same; figures of the student with its averaged weights. */
  public static Figures train(RingRecipe<?> recipe, Net student, Path folder, int steps)
      throws IOException {
    Figures[] figures = new Figures[1];
    train(recipe, student, folder, net -> figures[0] = figures(net, recipe.sampler(), steps));
    return figures[0];
  }

  /** Figures of a student in {@code steps} steps of the scheduler that its method writes. */
  public static Figures figures(Net student, ObjectNode scheduler, int steps) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return figures(draw(student, scheduler, steps).last());
    }
  }

  /** Figures of what {@link #draw} ended with. */
  static Figures figures(Tensor drawn) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(77)) {
      Tensor reference = draw(Ring.TEACHER, Ring.scheduler(), FINE_STEPS).last();
      double paired = drawn.sub(reference).square().sum(1).mean().item();
      return new Figures(energyDistance(drawn, Ring.points(POINTS, rng)), Math.sqrt(paired));
    }
  }

  /**
   * What a sampler went through.
   *
   * @param states the noise, then the state after each step, [POINTS, 2, 1, 1]
   * @param noisy whether it asked for noise on the way
   */
  record Drawn(List<Tensor> states, boolean noisy) {
    Tensor last() {
      return states.get(states.size() - 1);
    }
  }

  /**
   * From noise that is the same for all; owned by the caller's scope, to call without gradients.
   */
  static Drawn draw(Net net, ObjectNode config, int steps) {
    try (Scheduler scheduler = Schedulers.create(config, steps);
        Rng start = Rng.seeded(99);
        Rng later = Rng.seeded(100)) {
      boolean[] noisy = new boolean[1];
      Conditioning told = Conditioning.of(Tensor.full(0, POINTS, 1)); // the ring has no captions
      double guidance = config.path(SchedulerConfig.GUIDANCE).asDouble(1);
      List<Tensor> states =
          new Sampling(scheduler, net, told, null, guidance)
              .fromNoise(
                  Tensor.randn(start, POINTS, 2, 1, 1),
                  x -> {
                    noisy[0] = true;
                    return Tensor.randn(later, x.shape());
                  });
      return new Drawn(states, noisy[0]);
    }
  }

  /** √(2 E|X−Y| − E|X−X'| − E|Y−Y'|) (Székely and Rizzo 2013), the diagonal left out. */
  public static double energyDistance(Tensor x, Tensor y) {
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
