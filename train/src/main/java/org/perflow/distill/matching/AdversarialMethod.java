package org.perflow.distill.matching;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Method;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.NoiseSchedule;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Examples;
import org.perflow.train.Objective;

/**
 * Adversarial diffusion distillation (Sauer et al. 2023, arXiv 2311.17042) in latent space (LADD:
 * Sauer et al. 2024, arXiv 2403.12015): a discriminator on the frozen teacher's features tells the
 * student's draws from data, both noised again, while the teacher's guess at the noised draw holds
 * the student to the caption. A step costs {@code fakeUpdates} draws of the student and updates of
 * the head, then one update of the student against a guided guess and a pass of the features.
 */
public final class AdversarialMethod implements Method<AdversarialOptions> {
  @Override
  public String name() {
    return "adversarial";
  }

  @Override
  public String advice() {
    return "1 to 4 steps that look like the data, not the teacher; needs good pictures";
  }

  @Override
  public AdversarialOptions defaults() {
    return AdversarialOptions.DEFAULTS;
  }

  @Override
  public void require(ObjectNode teacher, AdversarialOptions options) {
    FewStepStudent.require(teacher, options.studentSteps());
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, AdversarialOptions options) {
    return FewStepStudent.scheduler(teacher, options.studentSteps());
  }

  @Override
  public Objective objective(Task task, AdversarialOptions options) {
    return new Distillation(task, options);
  }

  /** The discriminator with what trains it and the frozen network that it reads. */
  private record Critic(Net features, Discriminator head, Auxiliary training)
      implements AutoCloseable {
    static Critic of(Task task, AdversarialOptions options) {
      // A copy, since the student's gradient passes through: the teacher itself is only read.
      Net features = task.teacher().net().copy();
      Discriminator head =
          new Discriminator(
              task, features, Discriminator.Kind.HINGE, options.r1Weight(), options.r1Noise());
      return new Critic(
          features,
          head,
          new Auxiliary(task, "discriminator", head.parameters(), options.fakeLearningRate()));
    }

    @Override
    public void close() {
      training.close();
      head.close();
      features.close();
    }
  }

  static final class Distillation implements Objective {
    private final Task task;
    private final Examples data;
    private final AdversarialOptions options;
    private final FewStepStudent student;
    private final NoiseSchedule schedule;
    private final @Nullable Critic critic;

    Distillation(Task task, AdversarialOptions options) {
      this.task = task;
      this.options = options;
      data = task.data();
      student = new FewStepStudent(task, options.studentSteps());
      schedule = task.teacher().schedule();
      critic = options.ganWeight() == 0 ? null : Critic.of(task, options);
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
      if (critic != null) {
        for (int i = 0; i < options.fakeUpdates(); i++) {
          critic.training().step(() -> criticLoss(critic, step.examples().length, rng));
        }
      }
      Conditioning condition = data.conditions(step.examples(), rng);
      Tensor x = student.data(condition, student.start(condition, rng)); // [B, C, h, w]
      Tensor loss = distillation(x, condition, rng).mul(options.distillationWeight());
      if (critic == null) {
        return loss;
      }
      Tensor fooling = critic.head().studentLoss(x, condition, rng);
      return loss.add(fooling.mul(options.ganWeight()));
    }

    private Tensor criticLoss(Critic against, int rows, Rng rng) {
      long[] examples = Tensor.randint(rng, data.size(), rows).toLongArray();
      Conditioning condition = data.conditions(examples, rng);
      Tensor drawn = student.drawn(condition, rng);
      return against.head().loss(data.latents(examples, rng), drawn, condition, rng);
    }

    /** E α_t |x − x_teacher(α_t x + σ_t n, t)|², the teacher's guess without gradients. */
    private Tensor distillation(Tensor x, Conditioning condition, Rng rng) {
      int rows = (int) x.size(0);
      Levels levels = Levels.drawn(schedule, task.teacher().prediction(), 0, 1, rows, rng);
      Tensor noise = Tensor.randn(rng, x.shape());
      Denoiser teacher = task.guided(task.teacher().net(), condition, options.guidance());
      Tensor guess;
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        guess = scope.keep(levels.data(teacher, levels.noised(x, noise)));
      }
      return levels.weighted(x.sub(guess).square(), levels::alpha).mean();
    }

    @Override
    public Map<String, Tensor> state() {
      if (critic == null) {
        return Map.of();
      }
      Map<String, Tensor> state = new LinkedHashMap<>(critic.training().state());
      state.putAll(critic.head().state());
      return state;
    }

    @Override
    public void close() {
      if (critic != null) {
        critic.close();
      }
    }
  }
}
