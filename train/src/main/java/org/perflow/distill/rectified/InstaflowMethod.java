package org.perflow.distill.rectified;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Arrays;
import java.util.Map;
import org.perflow.distill.Method;
import org.perflow.distill.Task;
import org.perflow.flow.Denoiser;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Objective;

/**
 * InstaFlow (Liu et al. 2023, arXiv 2309.06380): reflow on pairs of the guided teacher, then
 * distillation of the one step from noise to picture, noise − v(noise, t = 1).
 *
 * <p>In the place of LPIPS, which needs pixels and a network that is nowhere to be had, pictures
 * are compared by what the middle of the teacher's own U-Net says of their latents, channels
 * brought to unit length as LPIPS does (Zhang et al. 2018, arXiv 1801.03924, eq. 1). Both halves of
 * the run use the pairs of one teacher; to distil from the reflowed one's, as the paper does, run
 * {@code reflow} and then this method with its student as the teacher and {@code reflowPart} 0.
 */
public final class InstaflowMethod implements Method<InstaflowOptions> {
  /** Nearly clean: what the features are of is the picture, not its noise. */
  private static final double FEATURES_AT = 20;

  private static final double TINY = 1e-10;

  @Override
  public String name() {
    return "instaflow";
  }

  @Override
  public String advice() {
    return "one step without an adversary: reflow, then that step distilled";
  }

  @Override
  public InstaflowOptions defaults() {
    return InstaflowOptions.DEFAULTS;
  }

  @Override
  public void require(ObjectNode teacher, InstaflowOptions options) {
    options.pairSettings().require(teacher);
  }

  @Override
  public ObjectNode scheduler(ObjectNode teacher, InstaflowOptions options) {
    return StraightLines.scheduler(SchedulerConfig.FLOW_MATCHING, 1, 1);
  }

  @Override
  public Objective objective(Task task, InstaflowOptions options) {
    return new OneStep(task, options, TeacherPairs.of(task, options.pairSettings()));
  }

  private record OneStep(Task task, InstaflowOptions options, TeacherPairs store)
      implements Objective {
    @Override
    public Map<String, Parameter> parameters() {
      return task.student().parameters();
    }

    @Override
    public int examples() {
      return store.size();
    }

    @Override
    public Tensor loss(Step step) {
      boolean distils = step.progress() >= options.reflowPart();
      double[] t = StraightLines.times(step.examples().length, step.rng());
      if (distils) {
        Arrays.fill(t, 1); // exactly: anything less would leak the target into the input
      }
      Tensor zt;
      Tensor velocity;
      TeacherPairs.Batch pairs = store.batch(step.examples());
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        zt = scope.keep(StraightLines.at(t, pairs)); // [B, C, h, w]
        velocity = scope.keep(pairs.noise().sub(pairs.sample()));
      }
      Denoiser student = task.student().given(pairs.condition());
      Tensor predicted = student.predict(zt, StraightLines.told(t));
      Tensor loss = predicted.sub(velocity).square().mean();
      if (!distils || options.perceptual() == 0) {
        return loss;
      }
      Tensor made = pairs.noise().sub(predicted);
      return loss.add(distance(made, pairs).mul(options.perceptual()));
    }

    private Tensor distance(Tensor made, TeacherPairs.Batch pairs) {
      Denoiser features = task.teacher().net().features(pairs.condition());
      Tensor now = Tensor.full(FEATURES_AT, made.size(0));
      Tensor wanted;
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        wanted = scope.keep(unit(features.predict(pairs.sample(), now)));
      }
      return perceptual(unit(features.predict(made, now)), wanted);
    }

    @Override
    public double preparationSeconds() {
      return store.seconds();
    }

    @Override
    public void close() {
      store.close();
    }
  }

  /** Of [B, C, h, w], every place's channels at unit length. */
  static Tensor unit(Tensor features) {
    Tensor length = features.square().sum(1).unsqueeze(1).add(TINY).sqrt(); // [B, 1, h, w]
    return features.div(length);
  }

  /** Squared distance of unit features, summed over channels, mean over places and pictures. */
  static Tensor perceptual(Tensor a, Tensor b) {
    return a.sub(b).square().sum(1).mean();
  }
}
