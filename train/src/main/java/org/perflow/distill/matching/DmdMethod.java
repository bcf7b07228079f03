package org.perflow.distill.matching;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Method;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Examples;
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

  @Override
  public ObjectNode scheduler(ObjectNode teacher, DmdOptions options) {
    return FewStepStudent.scheduler(teacher, 1);
  }

  @Override
  public Objective objective(Task task, DmdOptions options) {
    return new Matching(task, options);
  }

  private static final class Matching implements Objective {
    private static final int REFILL_EVERY = 8;

    private final Task task;
    private final Examples data;
    private final DmdOptions options;
    private final FewStepStudent student;
    private final FakeScore fake;
    private final ScoreMatching matching;
    private final @Nullable PairPool pairs;

    Matching(Task task, DmdOptions options) {
      this.task = task;
      this.options = options;
      data = task.data();
      student = new FewStepStudent(task, 1);
      fake =
          new FakeScore(
              task,
              FakeScore.network(task, options.fakeRank()),
              options.fakeLearningRate(),
              FakeScore.Weight.NONE,
              Map.of());
      matching = ScoreMatching.of(task, ScoreMatching.Weight.NORMALISED);
      pairs = options.regressionWeight() == 0 ? null : new PairPool(data, options.pairPool());
    }

    @Override
    public Map<String, Parameter> parameters() {
      return task.student().parameters();
    }

    @Override
    public int examples() {
      return data.size();
    }

    @Override
    public Tensor loss(Step step) {
      Rng rng = step.rng();
      int rows = step.examples().length;
      for (int i = 0; i < options.fakeUpdates(); i++) {
        fake.update(() -> fakeLoss(rows, rng));
      }
      Conditioning condition = data.conditions(step.examples(), rng);
      Tensor x = student.data(condition, student.start(condition, rng)); // [B, C, h, w]
      Tensor loss =
          matching.loss(
              x,
              task.guided(task.teacher().net(), condition, options.guidance()),
              fake.net().given(condition),
              rng);
      return pairs == null
          ? loss
          : loss.add(regression(pairs, step).mul(options.regressionWeight()));
    }

    private Tensor fakeLoss(int rows, Rng rng) {
      long[] examples = Tensor.randint(rng, data.size(), rows).toLongArray();
      Conditioning condition = data.conditions(examples, rng);
      return fake.loss(student.drawn(condition, rng), condition, rng);
    }

    /** E |G(z) − y|² over the teacher's pairs (eq. 9, L2 in the place of LPIPS). */
    private Tensor regression(PairPool pool, Step step) {
      int rows = step.examples().length;
      int some = Math.min(rows, options.pairPool());
      if (step.number() % REFILL_EVERY == 0) {
        // The first pairs would else be used far more often than those that follow.
        int times = pool.isEmpty() ? Math.min(REFILL_EVERY, options.pairPool() / some) : 1;
        for (int i = 0; i < times; i++) {
          pool.add(solved(some, step.rng()));
        }
      }
      PairPool.Pairs drawn = pool.draw(rows, step.rng());
      Tensor x = student.data(drawn.condition(), student.first(drawn.noise()));
      return x.sub(drawn.sample()).square().mean();
    }

    /** New pairs, by the teacher's ODE from pure noise to the final level. */
    private PairPool.Pairs solved(int rows, Rng rng) {
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        long[] examples = Tensor.randint(rng, data.size(), rows).toLongArray();
        Conditioning condition = data.conditions(examples, rng);
        Tensor noise = student.noise(rows, rng);
        Tensor sample =
            task.solved(
                options.solver(), options.solvingSteps(), options.guidance(), noise, condition);
        return new PairPool.Pairs(
            scope.keep(noise), scope.keep(sample), condition.each(scope::keep));
      }
    }

    @Override
    public Map<String, Tensor> state() {
      Map<String, Tensor> state = new LinkedHashMap<>(fake.state());
      if (pairs != null) {
        state.putAll(pairs.state());
      }
      return state;
    }

    @Override
    public void close() {
      fake.close();
      if (pairs != null) {
        pairs.close();
      }
    }
  }
}
