package org.perflow.distill.ring;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Arrays;
import org.perflow.distill.Net;
import org.perflow.flow.Conditioning;
import org.perflow.flow.NoiseSchedule;
import org.perflow.io.Json;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.train.Examples;

/**
 * Eight Gaussians on a ring as latents [B, 2, 1, 1], whose teacher is known in closed form.
 * Captions say nothing, guidance therefore neither.
 */
public final class Ring implements Examples {
  private static final double[] WEIGHTS = {.1, .2, .1, .1, .2, .1, .1, .1};
  private static final double RADIUS = 1.4;
  private static final double DEVIATION = 0.12;

  /** The noise table of {@link #scheduler}. */
  public static final NoiseSchedule SCHEDULE = NoiseSchedule.of(scheduler());

  /** The teacher itself, whose copies are {@link RingNet}s. */
  public static final Net TEACHER = new ClosedForm(Ring::epsilon, RingNet::pretrained);

  /** The teacher's scheduler config: the linear betas of DDPM, on which β runs from 0.1 to 20. */
  public static ObjectNode scheduler() {
    return Json.MAPPER
        .createObjectNode()
        .put("_class_name", SchedulerConfig.DDIM)
        .put("beta_schedule", "linear")
        .put("beta_start", 1e-4)
        .put("beta_end", 2e-2)
        .put("clip_sample", false)
        .put("set_alpha_to_one", false)
        .put("timestep_spacing", "trailing")
        .put("prediction_type", "epsilon");
  }

  private static Tensor centres() {
    float[] centres = new float[16];
    for (int k = 0; k < 8; k++) {
      centres[2 * k] = (float) (RADIUS * Math.cos(k * Math.PI / 4));
      centres[2 * k + 1] = (float) (RADIUS * Math.sin(k * Math.PI / 4));
    }
    return Tensor.of(centres, 8, 2);
  }

  @Override
  public int size() {
    return 1 << 16;
  }

  /** Fresh points, whatever the examples. */
  @Override
  public Tensor latents(long[] examples, Rng rng) {
    return points(examples.length, rng);
  }

  /** That many points of the ring, [count, 2, 1, 1]; owned by the caller's scope. */
  public static Tensor points(int count, Rng rng) {
    double[] u = Tensor.rand(rng, count).toDoubleArray();
    long[] mode = new long[count];
    for (int i = 0; i < count; i++) {
      double sum = WEIGHTS[0];
      while (u[i] >= sum && mode[i] < 7) {
        sum += WEIGHTS[(int) ++mode[i]];
      }
    }
    Tensor noise = Tensor.randn(rng, count, 2).mul(DEVIATION);
    return centres().indexSelect(0, Tensor.of(mode)).add(noise).reshape(count, 2, 1, 1);
  }

  @Override
  public Conditioning conditions(long[] examples, Rng rng) {
    return Conditioning.of(Tensor.full(0, examples.length, 1));
  }

  @Override
  public Conditioning nullCondition() {
    return Conditioning.of(Tensor.full(0, 1, 1));
  }

  /** ε = -σ ∇ log p(z), p a mixture of Gaussians of variance (α c)² + σ². */
  static Tensor epsilon(Tensor z, Tensor timesteps) {
    double[] index = timesteps.toDoubleArray();
    Arrays.setAll(index, i -> Math.min(index[i], SCHEDULE.size() - 1));
    Tensor alpha = Tensor.generate(index.length, i -> SCHEDULE.alpha((int) index[i])).unsqueeze(1);
    Tensor sigma = Tensor.generate(index.length, i -> SCHEDULE.sigma((int) index[i])).unsqueeze(1);
    Tensor variance = alpha.mul(DEVIATION).square().add(sigma.square()); // [B, 1]
    Tensor x = z.reshape(z.size(0), 1, 2);
    Tensor toCentres = centres().unsqueeze(0).mul(alpha.unsqueeze(2)).sub(x); // [B, 8, 2]
    Tensor squares = toCentres.square().sum(2); // [B, 8]
    Tensor share = Tensor.of(WEIGHTS).to(DType.F32).log().sub(squares.div(variance.mul(2)));
    Tensor pull = share.softmax(1).unsqueeze(2).mul(toCentres).sum(1); // [B, 2]
    return pull.div(variance).mul(sigma).neg().reshape(z.shape());
  }
}
