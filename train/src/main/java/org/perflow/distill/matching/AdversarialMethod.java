package org.perflow.distill.matching;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Method;
import org.perflow.distill.Net;
import org.perflow.distill.Part;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.NoiseSchedule;
import org.perflow.memory.Beside;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
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

  /** The copy of the teacher whose features the discriminator reads. */
  @Override
  public Beside beside(AdversarialOptions options) {
    return new Beside(Beside.SMALL, 1);
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
  private record Critic(Net features, Discriminator head, Auxiliary training) implements Part {
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
    public Map<String, Tensor> state() {
      Map<String, Tensor> state = new LinkedHashMap<>(training.state());
      state.putAll(head.state());
      return state;
    }

    @Override
    public void supervise() {
      training.supervise();
      head.supervise();
    }

    @Override
    public void close() {
      training.close();
      head.close();
      features.close();
    }
  }

  private static final class Distillation extends MatchingObjective {
    private final AdversarialOptions options;
    private final NoiseSchedule schedule;
    private final @Nullable Critic critic;

    Distillation(Task task, AdversarialOptions options) {
      super(task, options.studentSteps(), options.ganWeight() == 0 ? 0 : options.fakeUpdates());
      this.options = options;
      schedule = task.teacher().schedule();
      critic = options.ganWeight() == 0 ? null : own(Critic.of(task, options));
    }

    @Override
    void update(int rows, Rng rng) {
      critic().training().step(() -> fakeLoss(rows, rng));
    }

    @Override
    Tensor fakeLoss(Drawn drawn, Rng rng) {
      Tensor real = data.latents(drawn.examples(), rng);
      return critic().head().loss(real, drawn.x(), drawn.condition(), rng);
    }

    private Critic critic() {
      return Objects.requireNonNull(critic, "updated without a discriminator");
    }

    @Override
    Tensor studentLoss(Tensor x, Conditioning condition, Step step) {
      Tensor loss = distillation(x, condition, step.rng()).mul(options.distillationWeight());
      if (critic == null) {
        return loss;
      }
      Tensor fooling = critic.head().studentLoss(x, condition, step.rng());
      return loss.add(fooling.mul(options.ganWeight()));
    }

    /** E α_t |x − x_teacher(α_t x + σ_t n, t)|², the teacher's guess without gradients. */
    private Tensor distillation(Tensor x, Conditioning condition, Rng rng) {
      int rows = (int) x.size(0);
      Levels levels = Levels.drawn(schedule, task.teacher().prediction(), 0, 1, rows, rng);
      Tensor noise = Tensor.randnLike(rng, x);
      Denoiser teacher = task.guided(task.teacher().net(), condition, options.guidance());
      Tensor guess;
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        guess = scope.keep(levels.data(teacher, levels.noised(x, noise)));
      }
      return levels.weighted(x.sub(guess).square(), levels::alpha).mean();
    }
  }
}
