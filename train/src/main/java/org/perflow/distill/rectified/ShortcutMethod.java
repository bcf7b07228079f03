package org.perflow.distill.rectified;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.perflow.distill.Method;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.flow.Affine;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.models.SchedulerConfig;
import org.perflow.models.UNetConfig;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Objective;

/**
 * Shortcut models (Frans et al. 2024, arXiv 2410.12557): a velocity v(z, t, d) that knows how long
 * a step d it is for. Most of a batch learns the straight lines' velocity with the shortest d; the
 * rest learns for a step of 2d the mean of two steps of d (eq. 5), so that one model serves every
 * number of steps. Time runs from 1, noise, to 0.
 *
 * <p>The student starts with the teacher's weights; the part that reads d is new, starts at zero
 * and is trained in full beside low-rank factors too: only the student's folder holds all of it.
 * Other than in the paper, targets come from the student itself and not from an average of it, and
 * guidance is in the teacher's pictures.
 */
public final class ShortcutMethod implements Method<ShortcutOptions> {
  private static final int EMBEDDING = 256;
  private static final int RECOMMENDED_STEPS = 4;

  @Override
  public String name() {
    return "shortcut";
  }

  @Override
  public String advice() {
    return "one model for 1, 2, 4, ... steps, told how long they are; wants a long run";
  }

  @Override
  public ShortcutOptions defaults() {
    return ShortcutOptions.DEFAULTS;
  }

  @Override
  public UNetConfig student(UNetConfig teacher, ShortcutOptions options) {
    return teacher.withTimeCondProjDim(EMBEDDING);
  }

  @Override
  public void require(ObjectNode teacher, ShortcutOptions options) {
    options.pairSettings().require(teacher);
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, ShortcutOptions options) {
    double guidance = options.coupling() == Coupling.DATA ? options.guidance() : 1;
    return StraightLines.scheduler(SchedulerConfig.SHORTCUT, RECOMMENDED_STEPS, guidance);
  }

  @Override
  public Objective objective(Task task, ShortcutOptions options) {
    var lines = new StraightLines(task, options.coupling(), options.pairSettings());
    return new Shortcut(task, options, lines);
  }

  /**
   * Times and lengths of the steps that a batch learns; those of {@code doubled} rows come first.
   */
  @SuppressWarnings("ArrayRecordComponent") // passed on, never compared
  record Steps(double[] t, double[] d, int doubled) {}

  /**
   * Steps of every length that is twice another one's, each equally often, where sampling in such
   * steps has them; then the shortest, at any time.
   */
  static Steps steps(int rows, ShortcutOptions options, Rng rng) {
    int doubled = Math.max(1, (int) Math.round(rows * options.consistency()));
    int lengths = Integer.numberOfTrailingZeros(options.finestSteps());
    double[] u = Tensor.rand(rng, 2, rows).toDoubleArray();
    double[] t = StraightLines.times(rows, rng);
    double[] d = new double[rows];
    Arrays.fill(d, 1.0 / options.finestSteps());
    for (int i = 0; i < doubled; i++) {
      int count = 1 << Math.min(lengths - 1, (int) (u[i] * lengths)); // 1 ... finest/2 steps
      d[i] = 1.0 / count;
      t[i] = 1 - Math.min(count - 1, Math.floor(u[rows + i] * count)) / count;
    }
    return new Steps(t, d, doubled);
  }

  /** The mean of two steps of half the length: where they lead in one. */
  static Tensor target(Net net, Conditioning told, Tensor zt, double[] t, double[] d) {
    double[] half = Arrays.stream(d).map(length -> length / 2).toArray();
    Tensor first = ask(net, told, zt, t, half);
    double[] later = new double[t.length];
    Arrays.setAll(later, i -> t[i] - half[i]);
    Affine[] move = new Affine[t.length];
    Arrays.setAll(move, i -> new Affine(1, -half[i]));
    Tensor second = ask(net, told, Affine.apply(move, zt, first), later, half);
    return first.add(second).div(2);
  }

  private static Tensor ask(Net net, Conditioning told, Tensor zt, double[] t, double[] d) {
    Denoiser network = net.given(told.withTimestepCond(Tensor.generate(d.length, i -> d[i])));
    return network.predict(zt, StraightLines.told(t));
  }

  private record Shortcut(Task task, ShortcutOptions options, StraightLines lines)
      implements Objective {
    @Override
    public Map<String, Parameter> parameters() {
      return task.student().parameters();
    }

    @Override
    public int examples() {
      return lines.size();
    }

    @Override
    public List<long[]> groups() {
      return lines.groups();
    }

    @Override
    public Tensor loss(Step step) {
      Rng rng = step.rng();
      int rows = step.examples().length;
      Steps steps = steps(rows, options, rng);
      int doubled = steps.doubled();
      Tensor zt;
      Tensor velocity;
      Conditioning told;
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        TeacherPairs.Batch ends = lines.ends(step.examples(), rng);
        told = task.dropped(ends.condition(), options.captionDropout(), rng).each(scope::keep);
        zt = scope.keep(StraightLines.at(steps.t(), ends)); // [B, C, h, w]
        Tensor straight = ends.noise().sub(ends.sample());
        Tensor twoSteps =
            target(
                task.student(),
                told.narrow(0, doubled),
                zt.narrow(0, 0, doubled),
                Arrays.copyOf(steps.t(), doubled),
                Arrays.copyOf(steps.d(), doubled));
        velocity = scope.keep(Tensor.cat(0, twoSteps, straight.narrow(0, doubled, rows - doubled)));
      }
      Tensor predicted = ask(task.student(), told, zt, steps.t(), steps.d());
      return predicted.sub(velocity).square().mean();
    }

    @Override
    public double preparationSeconds() {
      return lines.seconds();
    }

    @Override
    public void close() {
      lines.close();
    }
  }
}
