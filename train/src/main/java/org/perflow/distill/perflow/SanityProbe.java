package org.perflow.distill.perflow;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.perflow.distill.Task;
import org.perflow.flow.Affine;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TimeWindows.Window;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Examples;

/**
 * What an untrained student can tell about a run before hours are lost. A ddim_eps student with the
 * teacher's weights, sampled in K steps, is the teacher's K-step DDIM exactly; if it is not, what
 * the network predicts is not what it is taken for.
 *
 * @param ddimError relative difference of the two after K steps from the same noise, both networks
 *     told the same timesteps; NaN where the parameterisation promises nothing
 * @param windowErrors error of one student step over each window, noisiest first, as a part of the
 *     way that the teacher goes there
 * @param cosines of the angle between that step and the teacher's way: an untrained velocity
 *     student of a v-teacher has the direction already, though not the length
 * @param kind the student's parameterisation
 * @param teacher what the teacher predicts
 */
public record SanityProbe(
    double ddimError,
    List<Double> windowErrors,
    List<Double> cosines,
    Parameterization kind,
    PredictionType teacher) {
  private static final int PICTURES = 4;

  /** Above this a fine-tuned or bfloat16 student cannot explain the difference any more. */
  private static final double TOLERANCE = 0.2;

  static SanityProbe of(Task task, PiecewiseFlow flow, PfOdeSolver solver) {
    Examples data = task.data();
    PredictionType prediction = task.teacher().prediction();
    long[] few = Arrays.stream(data.groups().get(0)).distinct().limit(PICTURES).toArray();
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(0)) {
      Tensor z0 = data.latents(few, rng);
      Tensor noise = Tensor.randnLike(rng, z0);
      Conditioning condition = data.conditions(few, rng);
      Denoiser teaching = task.teacher().net().given(condition);
      Denoiser learning = task.student().given(condition);
      List<OneStep> steps =
          flow.windows().noisyToClean().stream()
              .map(window -> oneStep(flow, window, z0, noise, teaching, learning, solver))
              .toList();
      boolean promised = flow.parameterization() == Parameterization.DDIM_EPS;
      return new SanityProbe(
          promised ? ddimError(flow, noise, teaching, learning, prediction) : Double.NaN,
          steps.stream().map(OneStep::error).toList(),
          steps.stream().map(OneStep::cosine).toList(),
          flow.parameterization(),
          prediction);
    }
  }

  private static double ddimError(
      PiecewiseFlow flow,
      Tensor noise,
      Denoiser teacher,
      Denoiser student,
      PredictionType prediction) {
    int size = flow.schedule().size();
    Tensor a = noise;
    Tensor b = noise;
    for (Window window : flow.windows().noisyToClean()) {
      Tensor timesteps = Tensor.full(size * window.start(), noise.size(0));
      Affine ddim =
          prediction.ddim(flow.schedule(), window.startIndex(size), window.endIndex(size));
      a = ddim.apply(a, teacher.predict(a, timesteps));
      b = step(flow, window, b, student.predict(b, timesteps));
    }
    return b.sub(a).norm().item() / a.norm().item();
  }

  private record OneStep(double error, double cosine) {}

  private static OneStep oneStep(
      PiecewiseFlow flow,
      Window window,
      Tensor z0,
      Tensor noise,
      Denoiser teacher,
      Denoiser student,
      PfOdeSolver solver) {
    int rows = (int) z0.size(0);
    double[] t = new double[rows];
    Arrays.fill(t, window.start());
    Tensor start = flow.start(z0, noise, t);
    Tensor end = solver.solve(teacher, start, Collections.nCopies(rows, window));
    Tensor timesteps = Tensor.full(flow.schedule().size() * window.start(), rows);
    Tensor reached = step(flow, window, start, student.predict(start, timesteps));
    Tensor way = end.sub(start);
    Tensor stepped = reached.sub(start);
    double length = way.norm().item();
    return new OneStep(
        reached.sub(end).norm().item() / length,
        stepped.mul(way).sum().item() / (stepped.norm().item() * length));
  }

  private static Tensor step(PiecewiseFlow flow, Window window, Tensor z, Tensor output) {
    return z.sub(flow.velocity(window.start()).apply(z, output).mul(window.width()));
  }

  /** Refuses to go on where the student cannot be the start that it is taken for. */
  void require() {
    if (ddimError > TOLERANCE || Double.isNaN(ddimError) && kind == Parameterization.DDIM_EPS) {
      throw new IllegalStateException(
          "%s%nThe student is not the teacher's DDIM, as a ddim_eps student is before training. "
                  .formatted(this)
              + (teacher == PredictionType.EPSILON
                  ? "Start it from the teacher's weights, and check that the teacher's"
                      + " prediction_type really is epsilon."
                  : "The teacher predicts "
                      + teacher.key()
                      + ", not epsilon: use parameterization VELOCITY, or an epsilon teacher."));
    }
  }

  /** One line for a log. */
  @Override
  public String toString() {
    return "sanity probe: "
        + kind.key()
        + ", error of one step a window "
        + figures(windowErrors)
        + switch (kind) {
          case DDIM_EPS -> String.format(Locale.ROOT, "; %.2e from the teacher's DDIM", ddimError);
          case DIFF_EPS -> "; the first pictures of this parameterisation mean nothing";
          case VELOCITY ->
              "; cosine to the teacher's way "
                  + figures(cosines)
                  + (teacher == PredictionType.V_PREDICTION
                      ? ""
                      : "; the teacher predicts "
                          + teacher.key()
                          + ", so its weights are a poor start for a velocity student");
        };
  }

  private static String figures(List<Double> values) {
    return values.stream()
        .map(value -> String.format(Locale.ROOT, "%.3f", value))
        .collect(Collectors.joining(" "));
  }
}
