package org.perflow.evaluate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.models.SchedulerConfig;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.pipeline.Sampled;
import org.perflow.pipeline.StepListener;
import org.perflow.pipeline.VaeCodec;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Draws batches of cases with one model: as {@link Pipeline} draws, with the clock on sampling
 * alone and every state of the trajectory, noise included, within reach. Grad is off in the caller;
 * results belong to the caller's scope.
 */
final class Drawing {
  private final Pipeline pipeline;
  private final Request request;
  private final VaeCodec codec;

  Drawing(Pipeline pipeline, double guidance, int steps, DType compute) {
    this.pipeline = pipeline;
    request = Request.of("").withSteps(steps).withGuidance(guidance);
    codec = new VaeCodec(pipeline.model().vae(), compute, false);
  }

  Sampled sample(List<Case> cases) {
    List<Request> requests =
        cases.stream()
            .map(each -> request.withPrompt(each.prompt()).withSeed(each.seed()))
            .toList();
    return pipeline.sample(requests, StepListener.NONE);
  }

  /** Pictures [B, 3, H, W] in [-1, 1], float32, rounded to the 256 levels that a file holds. */
  Tensor decode(Tensor latents) {
    try (Scope scope = Scope.open()) {
      Tensor decoded = codec.decode(latents).to(DType.F32);
      return scope.keep(decoded.clamp(-1, 1).add(1).mul(127.5).round().div(127.5).sub(1));
    }
  }

  /** Trajectories through the states of {@link #sample}, in both coordinates. */
  Candidate.Trajectories trajectories(List<Tensor> states) {
    NoiseSchedule schedule = NoiseSchedule.of(pipeline.schedulerConfig(request));
    int[] levels = levels();
    int count = levels.length;
    if (schedule.alphaBar(levels[count - 2]) >= schedule.finalAlphaBar()) {
      count--; // the last step stood still: offset 0 and no set_alpha_to_one
    }
    double[] times = new double[count];
    double[] alpha = new double[count];
    double[] sigma = new double[count];
    for (int i = 0; i < count; i++) {
      times[i] = levels[i] < 0 ? 0 : (levels[i] + 1.0) / schedule.size();
      alpha[i] = schedule.alpha(levels[i]);
      sigma[i] = schedule.sigma(levels[i]);
    }
    List<Tensor> points =
        states.subList(0, count).stream().map(state -> state.to(Device.CPU)).toList();
    return new Candidate.Trajectories(
        new Straightness.Trajectory(points, times), Straightness.rectified(points, alpha, sigma));
  }

  /** Noise level of every recorded state: the index into the schedule, negative for its end. */
  private int[] levels() {
    ObjectNode config = pipeline.schedulerConfig(request);
    double[] timesteps;
    try (Scheduler scheduler = Schedulers.create(config, request.steps())) {
      timesteps = scheduler.timesteps();
    }
    int[] levels = new int[timesteps.length + 1];
    for (int i = 0; i < timesteps.length; i++) {
      // a teacher is told the index, a PeRFlow student 1000 t, which is one more
      levels[i] = (int) timesteps[i] - (SchedulerConfig.isPerflow(config) ? 1 : 0);
    }
    levels[timesteps.length] = -1;
    return levels;
  }
}
