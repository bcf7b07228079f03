package org.perflow.distill.matching;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Method;
import org.perflow.distill.Pool;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.memory.Beside;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Objective;

/**
 * Distribution matching distillation (Yin et al. 2023, arXiv 2311.18828): a one-step student whose
 * distribution is moved to the teacher's ({@link ScoreMatching}), held to the teacher's own samples
 * of some noises so that no mode is lost. The paper compares these by LPIPS, whose network is in no
 * registry; here it is the mean square of latents. A step costs {@code fakeUpdates} draws and
 * updates of the fake score, two passes of the student, and a share of the teacher's ODE: every 8
 * steps as many new pairs as a batch has rows.
 */
public final class DmdMethod implements Method<DmdOptions> {
  @Override
  public String name() {
    return "dmd";
  }

  @Override
  public String advice() {
    return "1 step, steadied by the teacher's own samples; dmd2 is its successor";
  }

  @Override
  public DmdOptions defaults() {
    return DmdOptions.DEFAULTS;
  }

  @Override
  public void require(ObjectNode teacher, DmdOptions options) {
    FewStepStudent.require(teacher, 1);
  }

  /** The fake score. */
  @Override
  public Beside beside(DmdOptions options) {
    return FakeScore.beside(options.fakeRank());
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, DmdOptions options) {
    return FewStepStudent.scheduler(teacher, 1);
  }

  @Override
  public Objective objective(Task task, DmdOptions options) {
    return new Matching(task, options);
  }

  private static final class Matching extends MatchingObjective {
    private static final int REFILL_EVERY = 8;

    private final DmdOptions options;
    private final FakeScore fake;
    private final ScoreMatching matching;
    private final @Nullable Pool pairs;

    Matching(Task task, DmdOptions options) {
      super(task, 1, options.fakeUpdates());
      this.options = options;
      fake =
          own(
              new FakeScore(
                  task,
                  FakeScore.network(task, options.fakeRank()),
                  options.fakeLearningRate(),
                  FakeScore.Weight.NONE,
                  Map.of()));
      matching = ScoreMatching.of(task, ScoreMatching.Weight.NORMALISED);
      pairs = options.regressionWeight() == 0 ? null : own(emptyPool());
    }

    @Override
    void update(int rows, Rng rng) {
      fake.update(() -> fakeLoss(rows, rng));
    }

    @Override
    Tensor fakeLoss(Drawn drawn, Rng rng) {
      return fake.loss(drawn.x(), drawn.condition(), rng);
    }

    @Override
    Tensor studentLoss(Tensor x, Conditioning condition, Step step) {
      Denoiser real = task.guided(task.teacher().net(), condition, options.guidance());
      Tensor loss = matching.loss(x, real, fake.net().given(condition), step.rng());
      return pairs == null
          ? loss
          : loss.add(regression(pairs, step).mul(options.regressionWeight()));
    }

    /** E |G(z) − y|² over the teacher's pairs (eq. 9, L2 in the place of LPIPS). */
    private Tensor regression(Pool pool, Step step) {
      int rows = step.examples().length;
      int some = Math.min(rows, options.pairPool());
      int first = some * Math.min(REFILL_EVERY, options.pairPool() / some);
      pool.refill(step.number(), REFILL_EVERY, some, first, more -> solved(more, some, step.rng()));
      Map<String, Tensor> drawn = pool.draw(rows, step.rng());
      Tensor x = student.data(Conditioning.of(drawn), student.first(drawn.get("noise")));
      return x.sub(drawn.get("sample")).square().mean();
    }

    private Pool emptyPool() {
      try (Scope scope = Scope.open();
          Rng any = Rng.seeded(0)) {
        Tensor row = student.noise(1, any);
        return new Pool("pairs", options.pairPool(), pairs(row, row, data.nullCondition()));
      }
    }

    /** New pairs, by the teacher's ODE from pure noise to the final level, a batch at a time. */
    private Map<String, Tensor> solved(int count, int batch, Rng rng) {
      List<Map<String, Tensor>> parts = new ArrayList<>();
      for (int from = 0; from < count; from += batch) {
        parts.add(solved(Math.min(batch, count - from), rng));
      }
      Map<String, Tensor> all = new LinkedHashMap<>();
      for (String name : parts.get(0).keySet()) {
        all.put(name, Tensor.cat(0, parts.stream().map(part -> part.get(name)).toList()));
      }
      return all;
    }

    private Map<String, Tensor> solved(int rows, Rng rng) {
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        long[] examples = Tensor.randint(rng, data.size(), rows).toLongArray();
        Conditioning condition = data.conditions(examples, rng);
        Tensor noise = student.noise(rows, rng);
        Tensor sample =
            task.solved(
                options.solver(), options.solvingSteps(), options.guidance(), noise, condition);
        return pairs(scope.keep(noise), scope.keep(sample), condition.each(scope::keep));
      }
    }

    private static Map<String, Tensor> pairs(Tensor noise, Tensor sample, Conditioning condition) {
      Map<String, Tensor> pairs = new LinkedHashMap<>();
      pairs.put("noise", noise);
      pairs.put("sample", sample);
      pairs.putAll(condition.named());
      return pairs;
    }
  }
}
