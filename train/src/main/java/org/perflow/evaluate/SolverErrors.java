package org.perflow.evaluate;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.Network;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TeacherSolver;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.TimeWindows.Window;
import org.perflow.models.DiffusionModel;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.SeededNoise;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * How far a solver of the teacher's ODE at few evaluations is from a fine solution: what is wrong
 * with a student's targets before it learns anything.
 *
 * <pre>{@code
 * List<Case> cases = Case.of(List.of("red apple", "green pear"), 8, 1_000_000);
 * try (DiffusionModel teacher = DiffusionModel.load(Path.of("models/emoji-64"), DType.F32)) {
 *   for (SolverErrors errors :
 *       SolverErrors.of(
 *           teacher,
 *           cases,
 *           7.5,
 *           DType.F32,
 *           new TimeWindows(4),
 *           new SolverErrors.Setting(TeacherSolver.HEUN, 48),
 *           SolverErrors.settings(List.of(2, 4, 8)))) {
 *     System.out.println(errors);
 *   }
 * }
 * }</pre>
 *
 * @param solver how steps are made
 * @param evaluations S, in each window
 * @param windows error at the end of each window from the fine solution's start of it, noisiest
 *     first, as a part of the way that the fine solution goes there (root of mean squares)
 * @param whole error at the end of all windows, solved in turn from the noise, as a part of the
 *     fine solution's norm there
 */
public record SolverErrors(
    TeacherSolver solver, int evaluations, List<Double> windows, double whole) {

  /** A solver to measure. */
  public record Setting(TeacherSolver solver, int evaluations) {}

  /** Every solver at each number of evaluations that makes whole steps of it. */
  public static List<Setting> settings(List<Integer> evaluations) {
    List<Setting> settings = new ArrayList<>();
    for (TeacherSolver solver : TeacherSolver.values()) {
      for (int count : evaluations) {
        if (count % solver.evaluationsPerStep() == 0) {
          settings.add(new Setting(solver, count));
        }
      }
    }
    return settings;
  }

  /** The teacher on a batch: what solvers follow, and where they start. */
  public record Problem(NoiseSchedule schedule, PredictionType prediction, Denoiser teacher) {
    private Tensor solve(Setting setting, Tensor z, Window window) {
      PfOdeSolver solver =
          new PfOdeSolver(schedule, prediction, setting.solver(), setting.evaluations());
      return solver.solve(teacher, z, Collections.nCopies((int) z.size(0), window));
    }
  }

  /**
   * Measures {@code settings} on the trajectories of {@code teacher} for {@code cases}.
   *
   * @param guidance of the teacher, 1 for none
   * @param compute element type to compute in
   * @param fine what they are compared with
   */
  public static List<SolverErrors> of(
      DiffusionModel teacher,
      List<Case> cases,
      double guidance,
      DType compute,
      TimeWindows windows,
      Setting fine,
      List<Setting> settings) {
    Pipeline pipeline = new Pipeline(teacher, compute);
    long[] seeds = cases.stream().mapToLong(Case::seed).toArray();
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        SeededNoise noise = new SeededNoise(seeds)) {
      Conditioning told = pipeline.encode(cases.stream().map(Case::prompt).toList());
      Conditioning empty = pipeline.encode(Collections.singletonList(null)); // none is given
      int size = teacher.unet().config().sampleSize();
      Problem problem =
          new Problem(
              NoiseSchedule.of(teacher.schedulerConfig()),
              PredictionType.of(teacher.schedulerConfig()),
              Network.of(teacher.unet()).guided(told, empty, guidance));
      Tensor start =
          noise.draw(teacher.unet().config().inChannels(), size, size).to(teacher.device());
      return of(problem, start, windows, fine, settings);
    }
  }

  /**
   * Measures {@code settings} on the trajectories that begin at {@code noise}, float32 [B, C, h,
   * w].
   *
   * @param fine what they are compared with
   */
  public static List<SolverErrors> of(
      Problem problem, Tensor noise, TimeWindows windows, Setting fine, List<Setting> settings) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      List<Window> all = windows.noisyToClean();
      List<Tensor> exact = new ArrayList<>(List.of(noise));
      for (Window window : all) {
        exact.add(problem.solve(fine, exact.get(exact.size() - 1), window));
      }
      return settings.stream().map(setting -> measure(problem, exact, all, setting)).toList();
    }
  }

  private static SolverErrors measure(
      Problem problem, List<Tensor> exact, List<Window> windows, Setting setting) {
    List<Double> errors = new ArrayList<>();
    try (Scope scope = Scope.open()) {
      Tensor z = exact.get(0);
      for (int i = 0; i < windows.size(); i++) {
        Tensor start = exact.get(i);
        Tensor end = exact.get(i + 1);
        Tensor reached = problem.solve(setting, start, windows.get(i));
        errors.add(reached.sub(end).norm().item() / end.sub(start).norm().item());
        z = i == 0 ? reached : problem.solve(setting, z, windows.get(i));
      }
      Tensor end = exact.get(windows.size());
      double whole = z.sub(end).norm().item() / end.norm().item();
      return new SolverErrors(setting.solver(), setting.evaluations(), errors, whole);
    }
  }
}
