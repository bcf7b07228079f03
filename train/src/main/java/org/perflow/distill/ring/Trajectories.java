package org.perflow.distill.ring;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Net;
import org.perflow.io.AtomicFiles;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * How a sampler takes noise, the same for all, to the ring.
 *
 * <pre>{@code
 * List<RingRecipe<?>> recipes = List.of(RingRecipe.of("perflow"), RingRecipe.of("lcm"));
 * List<Trajectories> all = Trajectories.of(recipes, System.err::println);
 * ImageIO.write(new TrajectoryFigure(all.get(0), all).png(1), "png", new File("paths.png"));
 * }</pre>
 *
 * @param summary in figures
 * @param states the noise, then the state after each step: x and y of every point in turn
 */
public record Trajectories(Summary summary, List<float[]> states) {
  private static final int TEACHER_STEPS = 50;
  private static final int FEW_STEPS = 4;

  /**
   * What came out.
   *
   * @param name of the method
   * @param steps that were drawn
   * @param windows of time with a straight path or a consistency function each; 1 for none
   * @param noisy whether the sampler adds fresh noise after a step
   * @param trainingSteps of the student; 0 for the teacher
   * @param trainingSeconds of the student
   * @param start what the student drew before training; null for the teacher
   * @param end what is drawn
   * @param ddim what the teacher's DDIM draws in as many steps
   */
  public record Summary(
      String name,
      int steps,
      int windows,
      boolean noisy,
      long trainingSteps,
      double trainingSeconds,
      RingRun.@Nullable Figures start,
      RingRun.Figures end,
      RingRun.Figures ddim) {}

  /** The teacher's DDIM. */
  public static Trajectories ofTeacher(int steps) {
    Drawn drawn = draw(Ring.TEACHER, Ring.scheduler(), steps);
    return new Trajectories(
        new Summary(
            "teacher, DDIM", steps, 1, drawn.noisy(), 0, 0, null, drawn.figures(), drawn.figures()),
        drawn.states());
  }

  /**
   * The teacher in {@value #TEACHER_STEPS} steps and in {@value #FEW_STEPS}, then every student in
   * each of its recipe's steps. Tensors are small: {@code Device.threads(1)} is fastest.
   *
   * @param note told what begins
   */
  public static List<Trajectories> of(List<RingRecipe<?>> recipes, Consumer<String> note)
      throws IOException {
    List<Trajectories> all = new ArrayList<>();
    all.add(ofTeacher(TEACHER_STEPS));
    all.add(ofTeacher(FEW_STEPS));
    Path runs = Files.createTempDirectory("perflow-trajectories");
    try {
      for (RingRecipe<?> recipe : recipes) {
        String name = recipe.method().name();
        note.accept("%s: %d training steps".formatted(name, recipe.training().steps()));
        all.addAll(train(recipe, runs.resolve(name)));
      }
    } finally {
      AtomicFiles.deleteDirectory(runs);
    }
    return all;
  }

  /** Trains a student in {@code folder} and draws with it in each of the recipe's steps. */
  public static <O extends Record> List<Trajectories> train(RingRecipe<O> recipe, Path folder)
      throws IOException {
    ObjectNode sampler = recipe.sampler();
    List<Trajectories> all = new ArrayList<>();
    try (Net student = recipe.student().get()) {
      List<RingRun.Figures> before =
          recipe.steps().stream().map(n -> RingRun.figures(student, sampler, n)).toList();
      long began = System.nanoTime();
      RingRun.train(
          recipe,
          student,
          folder,
          trained -> {
            double seconds = (System.nanoTime() - began) / 1e9;
            for (int i = 0; i < before.size(); i++) {
              int steps = recipe.steps().get(i);
              Drawn drawn = draw(trained, sampler, steps);
              Summary summary =
                  new Summary(
                      recipe.method().name(),
                      steps,
                      recipe.windows(),
                      drawn.noisy(),
                      recipe.training().steps(),
                      seconds,
                      before.get(i),
                      drawn.figures(),
                      RingRun.figures(Ring.TEACHER, Ring.scheduler(), steps));
              all.add(new Trajectories(summary, drawn.states()));
            }
          });
    }
    return all;
  }

  private record Drawn(List<float[]> states, boolean noisy, RingRun.Figures figures) {}

  private static Drawn draw(Net net, ObjectNode sampler, int steps) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      RingRun.Drawn drawn = RingRun.draw(net, sampler, steps);
      return new Drawn(
          drawn.states().stream().map(Tensor::toFloatArray).toList(),
          drawn.noisy(),
          RingRun.figures(drawn.last()));
    }
  }

  /** Whether the state after that many steps lies between two windows. */
  boolean betweenWindows(int after) {
    return after > 0
        && after < summary.steps()
        && after * summary.windows() % summary.steps() == 0
        && summary.windows() > 1;
  }
}
