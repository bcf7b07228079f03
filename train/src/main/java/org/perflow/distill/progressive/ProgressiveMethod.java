package org.perflow.distill.progressive;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.perflow.distill.Checks;
import org.perflow.distill.Method;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.flow.Affine;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PfOdeSolver;
import org.perflow.flow.PredictionType;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.memory.Beside;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Objective;

/**
 * Progressive distillation (Salimans and Ho 2022, arXiv 2202.00512, algorithm 2): in every stage
 * the student learns to make in one DDIM step what its teacher makes in two, and is the next
 * stage's teacher. The stages share the run equally. The first teacher is guided by a fixed scale,
 * which is the first stage of Meng et al. (arXiv 2210.03142) with one scale.
 *
 * <p>The student predicts v, since x0 from ε has no signal where there is hardly any (section 4);
 * where the teacher predicts ε, the first stage also learns what the output means. Other than in
 * the paper the optimiser goes on from stage to stage, its moments and learning rate with it.
 */
public final class ProgressiveMethod implements Method<ProgressiveOptions> {
  @Override
  public String name() {
    return "progressive";
  }

  @Override
  public String advice() {
    return "4 or 8 steps near the teacher's DDIM, halved stage by stage; wants a long run";
  }

  @Override
  public ProgressiveOptions defaults() {
    return ProgressiveOptions.DEFAULTS;
  }

  @Override
  public void require(ObjectNode teacher, ProgressiveOptions options) {
    try {
      NoiseSchedule schedule = NoiseSchedule.of(teacher);
      int solved = options.studentSteps(0) * options.solver().steps(options.solvingSteps());
      if (options.startSteps() > schedule.size() || solved > schedule.size()) {
        throw new IllegalArgumentException(
            "startSteps is %d, half of which take %d steps of the solver; the teacher has %d noise"
                    .formatted(options.startSteps(), solved, schedule.size())
                + " levels");
      }
      Checks.signal(teacher);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "progressive distils the DDIM steps of a teacher that predicts epsilon, v or the sample: "
              + e.getMessage()
              + "; for flow-matching teachers there is the method reflow",
          e);
    }
  }

  /** The student of the round before, which is this one's teacher. */
  @Override
  public Beside beside(ProgressiveOptions options) {
    return new Beside(0, 1);
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, ProgressiveOptions options) {
    return Schedulers.trailingDdim(teacher)
        .put("prediction_type", PredictionType.V_PREDICTION.key())
        .put(SchedulerConfig.STEPS, options.endSteps())
        .put(SchedulerConfig.GUIDANCE, 1.0);
  }

  @Override
  public Objective objective(Task task, ProgressiveOptions options) {
    return new Halving(task, options);
  }

  // ---------------------------------------------------------------- closed forms

  /** The noise index at which step {@code i} of {@code steps} begins; −1 past the last. */
  static int node(int size, int steps, int i) {
    return (int) Math.rint(size - i * ((double) size / steps)) - 1;
  }

  /**
   * The x0 for which one DDIM step from level t to s ends at z_s, as a·z_t + b·z_s: (z_s −
   * (σ_s/σ_t) z_t) / (α_s − (σ_s/σ_t) α_t), appendix G.
   */
  static Affine data(double alphaT, double sigmaT, double alphaS, double sigmaS) {
    double ratio = sigmaS / sigmaT;
    double scale = 1 / (alphaS - ratio * alphaT);
    return new Affine(-ratio * scale, scale);
  }

  /** The v that stands for that x0 at z_t: (α z_t − x0)/σ, as a·z_t + b·z_s. */
  static Affine target(NoiseSchedule schedule, int t, int s) {
    double sigma = schedule.sigma(t);
    Affine data = data(schedule.alpha(t), sigma, schedule.alpha(s), schedule.sigma(s));
    return new Affine((schedule.alpha(t) - data.a()) / sigma, -data.b() / sigma);
  }

  /**
   * The truncated weight max(SNR, 1) of an error in x0 (eq. 9) as that of an error in v, which is
   * 1/σ of it: max(α², σ²).
   */
  static double weight(NoiseSchedule schedule, int t) {
    double signal = schedule.alphaBar(t);
    return Math.max(signal, 1 - signal);
  }

  // ---------------------------------------------------------------- objective

  private static final class Halving implements Objective {
    private final Task task;
    private final ProgressiveOptions options;
    private final NoiseSchedule schedule;
    private final Tensor stage; // [1] int64, so that checkpoints carry it
    private final PfOdeSolver first; // of the first stage
    private Net frozen; // the student at the end of the stage before; not used in the first

    Halving(Task task, ProgressiveOptions options) {
      this.task = task;
      this.options = options;
      schedule = task.teacher().schedule();
      first =
          new PfOdeSolver(
              schedule, task.teacher().prediction(), options.solver(), options.solvingSteps());
      frozen = task.student().copy();
      try (Scope scope = Scope.open()) {
        stage = scope.release(Tensor.of(new long[] {0}));
      }
    }

    @Override
    public Map<String, Parameter> parameters() {
      return task.student().parameters();
    }

    @Override
    public int examples() {
      return task.data().size();
    }

    @Override
    public List<long[]> groups() {
      return task.data().groups();
    }

    @Override
    public Map<String, Tensor> state() {
      Map<String, Tensor> state = new LinkedHashMap<>();
      state.put("stage", stage);
      frozen.parameters().forEach((name, weight) -> state.put("teacher." + name, weight.value()));
      return state;
    }

    @Override
    public Tensor loss(Step step) {
      int now = advance(step.progress());
      int rows = step.examples().length;
      int[] from = new int[rows];
      Tensor zt;
      Tensor target;
      Conditioning told;
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        Rng rng = step.rng();
        Tensor data = task.data().latents(step.examples(), rng);
        told = task.data().conditions(step.examples(), rng).each(scope::keep);
        int steps = options.studentSteps(now);
        long[] which = Tensor.randint(rng, steps, rows).toLongArray();
        int[] middle = new int[rows]; // of later stages; the solver of the first has its own
        int[] to = new int[rows];
        for (int i = 0; i < rows; i++) {
          int at = (int) which[i];
          from[i] = node(schedule.size(), steps, at);
          middle[i] = node(schedule.size(), 2 * steps, 2 * at + 1);
          to[i] = node(schedule.size(), steps, at + 1);
        }
        zt = scope.keep(schedule.addNoise(data, Tensor.randnLike(rng, data), from));
        Tensor zs =
            now == 0
                ? first.solve(guidedTeacher(told), zt, from, to)
                : twoSteps(frozen.given(told), zt, from, middle, to);
        Affine[] targets = new Affine[rows];
        Arrays.setAll(targets, i -> target(schedule, from[i], to[i]));
        target = scope.keep(Affine.apply(targets, zt, zs)); // [B, C, h, w]
      }
      Tensor predicted = task.student().given(told).predict(zt, times(from));
      return predicted.sub(target).square().mul(weights(from).asRows(zt.dim())).mean();
    }

    /** Where a stage is over, its student becomes the teacher of the next. */
    private int advance(double progress) {
      int stages = options.stages();
      int wanted = (int) Math.min(stages - 1, Math.floor(progress * stages));
      if (stage.toLongArray()[0] != wanted) {
        Net done = frozen;
        frozen = task.student().copy();
        done.close();
        try (Scope scope = Scope.open()) {
          stage.copyInPlace(Tensor.of(new long[] {wanted}));
        }
      }
      return wanted;
    }

    private Denoiser guidedTeacher(Conditioning told) {
      return task.guided(task.teacher().net(), told, options.guidance());
    }

    private Tensor twoSteps(Denoiser teacher, Tensor zt, int[] from, int[] middle, int[] to) {
      return ddim(teacher, ddim(teacher, zt, from, middle), middle, to);
    }

    private Tensor ddim(Denoiser teacher, Tensor z, int[] from, int[] to) {
      Affine[] each = new Affine[from.length];
      Arrays.setAll(each, i -> PredictionType.V_PREDICTION.ddim(schedule, from[i], to[i]));
      return Affine.apply(each, z, teacher.predict(z, times(from)));
    }

    private static Tensor times(int[] indices) {
      return Tensor.generate(indices.length, i -> indices[i]);
    }

    private Tensor weights(int[] indices) {
      return Tensor.generate(indices.length, i -> weight(schedule, indices[i]))
          .to(task.data().device());
    }

    @Override
    public void close() {
      frozen.close();
      stage.close();
    }
  }
}
