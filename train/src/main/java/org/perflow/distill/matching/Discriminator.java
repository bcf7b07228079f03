package org.perflow.distill.matching;

import java.util.LinkedHashMap;
import java.util.Map;
import org.perflow.distill.Net;
import org.perflow.distill.Part;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Conv2d;
import org.perflow.tensor.nn.GroupNorm;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.DivergedException;

/**
 * Tells noised data from noised samples by a diffusion network's middle features (LADD: Sauer et
 * al. 2024, arXiv 2403.12015; DMD2: arXiv 2405.14867, section 4.3): a head of convolutions that
 * judges every place of the map. Who trains the head, and the features or not, is the method's
 * business. Owns its weights. One thread.
 */
final class Discriminator implements Part {
  /** What the judgements are trained by. */
  enum Kind {
    /** max(0, 1 − D(real)) + max(0, 1 + D(drawn)), the student's −D(drawn). */
    HINGE(2),
    /** softplus(−D(real)) + softplus(D(drawn)), the student's softplus(−D(drawn)). */
    SOFTPLUS(2 * Math.log(2));

    private final double ofChance;

    Kind(double ofChance) {
      this.ofChance = ofChance;
    }
  }

  // A head that is always right and sure no longer says in which direction to improve.
  private static final double WON = 0.01;
  private static final double MEMORY = 0.99;

  private final Head head;
  private final Net features;
  private final NoiseSchedule schedule;
  private final PredictionType prediction;
  private final Kind kind;
  private final double r1Weight;
  private final double r1Noise;
  private final Tensor running; // [1], mean loss of the last updates, as a part of chance's

  /**
   * A new head.
   *
   * @param features whose middle it reads; stays its owner's
   * @param r1Weight of (D(x) − D(x + r1Noise n))² on data, which keeps D smooth there in place of
   *     R1's second derivatives (Lin et al. 2025, arXiv 2501.08316, section 3.4)
   */
  Discriminator(Task task, Net features, Kind kind, double r1Weight, double r1Noise) {
    this.features = features;
    this.kind = kind;
    this.r1Weight = r1Weight;
    this.r1Noise = r1Noise;
    schedule = task.teacher().schedule();
    prediction = task.teacher().prediction();
    head = new Head(features.featureChannels());
    head.to(task.data().device());
    try (Rng rng = Rng.seeded(task.train().seed());
        Scope scope = Scope.open()) {
      head.initialise(rng, DType.F32);
      running = scope.release(Tensor.full(1, 1).to(head.device()));
    }
  }

  /** 3×3, then 1×1 twice; normalised, so that features of any size will do. */
  private static final class Head extends Module {
    private final Conv2d first;
    private final GroupNorm firstNorm;
    private final Conv2d second;
    private final GroupNorm secondNorm;
    private final Conv2d last;

    Head(int channels) {
      int groups = channels % 8 == 0 ? 8 : 1;
      first = child("first", new Conv2d(channels, channels, 3, 1, 1));
      firstNorm = child("first_norm", new GroupNorm(groups, channels, 1e-5));
      second = child("second", new Conv2d(channels, channels, 1, 1, 0));
      secondNorm = child("second_norm", new GroupNorm(groups, channels, 1e-5));
      last = child("last", new Conv2d(channels, 1, 1, 1, 0));
    }

    /** [B, C, h, w] to [B, 1, h, w]. */
    Tensor forward(Tensor features) {
      Tensor x = Functional.silu(firstNorm.forward(first.forward(features)));
      return last.forward(Functional.silu(secondNorm.forward(second.forward(x))));
    }
  }

  /** The head's weights. */
  Map<String, Parameter> parameters() {
    return head.namedParameters();
  }

  /**
   * Its own loss, to be minimised by the head.
   *
   * @param real data, [B, C, h, w]
   * @param drawn samples of the student, without gradients
   * @param condition of both, B rows
   * @throws DivergedException where it has been right about everything for long
   */
  Tensor loss(Tensor real, Tensor drawn, Conditioning condition, Rng rng) {
    int rows = (int) real.size(0);
    Levels levels = level(rows, rng);
    Tensor noise = Tensor.randnLike(rng, real);
    Tensor ofReal = judge(levels, levels.noised(real, noise), condition);
    Tensor ofDrawn = judge(levels, levels.noised(drawn, Tensor.randnLike(rng, drawn)), condition);
    Tensor loss =
        kind == Kind.HINGE
            ? ofReal.neg().add(1).relu().mean().add(ofDrawn.add(1).relu().mean())
            : softplus(ofReal.neg()).mean().add(softplus(ofDrawn).mean());
    watch(loss);
    if (r1Weight == 0) {
      return loss;
    }
    Tensor moved = real.add(Tensor.randnLike(rng, real).mul(r1Noise));
    Tensor ofMoved = judge(levels, levels.noised(moved, noise), condition);
    return loss.add(ofReal.sub(ofMoved).square().mean().mul(r1Weight));
  }

  /** What the student minimises; gradients reach {@code drawn} through the features. */
  Tensor studentLoss(Tensor drawn, Conditioning condition, Rng rng) {
    Levels levels = level((int) drawn.size(0), rng);
    Tensor noised = levels.noised(drawn, Tensor.randnLike(rng, drawn));
    Tensor judged = judge(levels, noised, condition);
    return kind == Kind.HINGE ? judged.mean().neg() : softplus(judged.neg()).mean();
  }

  private Levels level(int rows, Rng rng) {
    return Levels.drawn(schedule, prediction, 0, 1, rows, rng);
  }

  /** [B, 1, h', w'], positive for data. */
  private Tensor judge(Levels levels, Tensor z, Conditioning condition) {
    return head.forward(features.features(condition).predict(z, levels.timesteps()));
  }

  /** log(1 + eˣ) that does not overflow. */
  private static Tensor softplus(Tensor x) {
    return x.relu().add(x.abs().neg().exp().add(1).log());
  }

  /** Whether it has won is asked at once on the CPU, and elsewhere where the loss is read, too. */
  private void watch(Tensor loss) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      if (running.device().isCpu()) {
        double now = loss.item() / kind.ofChance;
        running.copyInPlace(Tensor.full(MEMORY * running.item() + (1 - MEMORY) * now, 1));
        supervise();
      } else {
        running.lerpInPlace(loss.div(kind.ofChance).to(running.dtype()), 1 - MEMORY);
      }
    }
  }

  @Override
  public void supervise() {
    double mean = running.item();
    if (mean < WON) {
      throw new DivergedException(
          "the discriminator tells all samples from data (its loss is %.2g of a guess's), so the"
                  .formatted(mean)
              + " student learns nothing from it: raise r1Weight (now %s), or lower"
                  .formatted(r1Weight)
              + " fakeLearningRate or fakeUpdates");
    }
  }

  /** For checkpoints; the head's weights belong to what trains them. */
  @Override
  public Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put("discriminator.running", running);
    return state;
  }

  @Override
  public void close() {
    running.close();
    head.close();
  }
}
