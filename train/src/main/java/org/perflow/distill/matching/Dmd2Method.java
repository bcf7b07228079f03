package org.perflow.distill.matching;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Method;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.memory.Beside;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.train.Objective;

/**
 * DMD2 (Yin et al. 2024, arXiv 2405.14867): the student's distribution is moved to the teacher's
 * ({@link ScoreMatching}) without pairs. A fake score that learns faster than the student keeps
 * that stable (two time scales), and its features tell data from samples, which corrects what the
 * teacher's score has wrong. A step costs {@code fakeUpdates} draws of the student and updates of
 * the fake score, then one update of the student.
 */
public final class Dmd2Method implements Method<Dmd2Options> {
  @Override
  public String name() {
    return "dmd2";
  }

  @Override
  public String advice() {
    return "1 to 4 steps with the sharpest pictures and less variety; slow, three networks";
  }

  @Override
  public Dmd2Options defaults() {
    return Dmd2Options.DEFAULTS;
  }

  @Override
  public void require(ObjectNode teacher, Dmd2Options options) {
    FewStepStudent.require(teacher, options.studentSteps());
  }

  /** The fake score. */
  @Override
  public Beside beside(Dmd2Options options) {
    return FakeScore.beside(options.fakeRank());
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, Dmd2Options options) {
    return FewStepStudent.scheduler(teacher, options.studentSteps());
  }

  @Override
  public Objective objective(Task task, Dmd2Options options) {
    return new Matching(task, options);
  }

  private static final class Matching extends MatchingObjective {
    private final Dmd2Options options;
    private final FakeScore fake;
    private final @Nullable Discriminator discriminator;
    private final ScoreMatching matching;

    Matching(Task task, Dmd2Options options) {
      super(task, options.studentSteps(), options.fakeUpdates());
      this.options = options;
      Net network = FakeScore.network(task, options.fakeRank());
      discriminator =
          options.ganWeight() == 0
              ? null
              : new Discriminator(
                  task,
                  network,
                  Discriminator.Kind.SOFTPLUS,
                  options.r1Weight(),
                  options.r1Noise());
      fake =
          own(
              new FakeScore(
                  task,
                  network,
                  options.fakeLearningRate(),
                  FakeScore.Weight.NONE,
                  discriminator == null ? Map.of() : discriminator.parameters()));
      if (discriminator != null) {
        own(discriminator); // after the optimiser of its weights
      }
      matching = ScoreMatching.of(task, ScoreMatching.Weight.NORMALISED);
    }

    @Override
    void update(int rows, Rng rng) {
      fake.update(() -> fakeLoss(rows, rng));
    }

    @Override
    Tensor fakeLoss(Drawn drawn, Rng rng) {
      Tensor loss = fake.loss(drawn.x(), drawn.condition(), rng);
      if (discriminator == null) {
        return loss;
      }
      Tensor real = data.latents(drawn.examples(), rng);
      Tensor telling = discriminator.loss(real, drawn.x(), drawn.condition(), rng);
      return loss.add(telling.mul(options.discriminatorWeight()));
    }

    @Override
    Tensor studentLoss(Tensor x, Conditioning condition, Step step) {
      Denoiser real = task.guided(task.teacher().net(), condition, options.guidance());
      Tensor loss = matching.loss(x, real, fake.net().given(condition), step.rng());
      if (discriminator == null) {
        return loss;
      }
      Tensor fooling = discriminator.studentLoss(x, condition, step.rng());
      return loss.add(fooling.mul(options.ganWeight()));
    }
  }
}
