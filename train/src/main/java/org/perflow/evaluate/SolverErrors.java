package org.perflow.evaluate;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.perflow.flow.Denoiser;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TeacherSolver;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.TimeWindows.Window;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * How far a solver of the teacher's ODE at few evaluations is from a fine solution: what is wrong
 * with a student's targets before it learns anything.
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

  /** The teacher on a batch: what solvers follow, and where they start. */
  public record Problem(NoiseSchedule schedule, PredictionType prediction, Denoiser teacher) {
    private Tensor solve(Setting setting, Tensor z, Window window) {
      PfOdeSolver solver =
          new PfOdeSolver(schedule, prediction, setting.solver(), setting.evaluations());
      return solver.solve(teacher, z, Collections.nCopies((int) z.size(0), window));
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
