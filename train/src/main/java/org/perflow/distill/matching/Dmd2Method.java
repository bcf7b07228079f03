package org.perflow.distill.matching;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Method;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Examples;
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

  @Override
  public ObjectNode scheduler(ObjectNode teacher, Dmd2Options options) {
    return FewStepStudent.scheduler(teacher, options.studentSteps());
  }

  @Override
  public Objective objective(Task task, Dmd2Options options) {
    return new Matching(task, options);
  }

  private static final class Matching implements Objective {
    private final Task task;
    private final Examples data;
    private final Dmd2Options options;
    private final FewStepStudent student;
    private final FakeScore fake;
    private final @Nullable Discriminator discriminator;
    private final ScoreMatching matching;

    Matching(Task task, Dmd2Options options) {
      this.task = task;
      this.options = options;
      data = task.data();
      student = new FewStepStudent(task, options.studentSteps());
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
          new FakeScore(
              task,
              network,
              options.fakeLearningRate(),
              FakeScore.Weight.NONE,
              discriminator == null ? Map.of() : discriminator.parameters());
      matching = ScoreMatching.of(task, ScoreMatching.Weight.NORMALISED);
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
      for (int i = 0; i < options.fakeUpdates(); i++) {
        fake.update(() -> fakeLoss(step.examples().length, rng));
      }
      Conditioning condition = data.conditions(step.examples(), rng);
      Tensor x = student.data(condition, student.start(condition, rng)); // [B, C, h, w]
      Tensor loss =
          matching.loss(
              x,
              task.guided(task.teacher().net(), condition, options.guidance()),
              fake.net().given(condition),
              rng);
      if (discriminator == null) {
        return loss;
      }
      Tensor fooling = discriminator.studentLoss(x, condition, rng);
      return loss.add(fooling.mul(options.ganWeight()));
    }

    /** On examples of their own, so that more updates also see more data. */
    private Tensor fakeLoss(int rows, Rng rng) {
      long[] examples = Tensor.randint(rng, data.size(), rows).toLongArray();
      Conditioning condition = data.conditions(examples, rng);
      Tensor drawn = student.drawn(condition, rng);
      Tensor loss = fake.loss(drawn, condition, rng);
      if (discriminator == null) {
        return loss;
      }
      Tensor telling = discriminator.loss(data.latents(examples, rng), drawn, condition, rng);
      return loss.add(telling.mul(options.discriminatorWeight()));
    }

    @Override
    public Map<String, Tensor> state() {
      Map<String, Tensor> state = new LinkedHashMap<>(fake.state());
      if (discriminator != null) {
        state.putAll(discriminator.state());
      }
      return state;
    }

    @Override
    public void close() {
      fake.close();
      if (discriminator != null) {
        discriminator.close();
      }
    }
  }
}
