package org.perflow.evaluate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.Network;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.sampler.PerflowScheduler;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.models.DiffusionModel;
import org.perflow.models.VaeConfig;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.SeededNoise;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Draws batches of cases with one model: the loop of {@link Pipeline}, from its text embeddings
 * and noise, with the clock on sampling alone and every state of the trajectory, noise included,
 * within reach. Grad is off in the caller; results belong to the caller's scope.
 */
final class Drawing {
  private final DiffusionModel model;
  private final double guidance;
  private final Scheduler scheduler;
  private final ObjectNode config;
  private final DType compute;
  private final Pipeline pipeline;

  Drawing(DiffusionModel model, ObjectNode config, double guidance, int steps, DType compute) {
    this.model = model;
    this.guidance = guidance;
    this.scheduler = Schedulers.create(config, steps);
    this.config = config;
    this.compute = compute;
    this.pipeline = new Pipeline(model, compute);
  }

  /**
   * A batch on its way from noise to data.
   *
   * @param states the noise, then the latents [B, C, h, w], float32, after each step
   * @param seconds that the steps took
   */
  record Sampled(List<Tensor> states, double seconds) {
    Tensor latents() {
      return states.get(states.size() - 1);
    }
  }

  Sampled sample(List<Case> cases) {
    long[] seeds = cases.stream().mapToLong(Case::seed).toArray();
    try (SeededNoise noise = new SeededNoise(seeds);
        Scope scope = Scope.open()) {
      Conditioning text = pipeline.encode(cases.stream().map(Case::prompt).toList());
      Conditioning nothing = pipeline.encode(Collections.nCopies(cases.size(), ""));
      int size = model.unet().config().sampleSize();
      Tensor start = noise.draw(model.unet().config().inChannels(), size, size);
      long begin = System.nanoTime();
      List<Tensor> states = scheduler.sample(start, noise, i -> denoiser(text, nothing, i));
      double seconds = (System.nanoTime() - begin) / 1e9;
      states.forEach(scope::keep);
      return new Sampled(states, seconds);
    }
  }

  /** As the pipeline has it: a network that embeds a number is told it and asked once. */
  private Denoiser denoiser(Conditioning text, Conditioning nothing, int index) {
    if (!model.unet().config().takesTimestepCond()) {
      return Network.of(model.unet()).guided(text, nothing, guidance);
    }
    double cond = scheduler.timestepCond(index);
    double number = Double.isNaN(cond) ? guidance - 1 : cond;
    return Network.of(model.unet())
        .given(text.withTimestepCond(Tensor.full(number, text.text().size(0))));
  }

  /** Pictures [B, 3, H, W] in [-1, 1], float32, rounded to the 256 levels that a file holds. */
  Tensor decode(Tensor latents) {
    try (Scope scope = Scope.open()) {
      VaeConfig config = model.vae().config();
      double shift = Optional.ofNullable(config.shiftFactor()).orElse(0.0);
      Tensor z = latents.div(config.scalingFactor()).add(shift);
      Tensor decoded = model.vae().decode(z.to(config.forceUpcast() ? DType.F32 : compute));
      Tensor levels = decoded.to(DType.F32).clamp(-1, 1).add(1).mul(127.5).round();
      return scope.keep(levels.div(127.5).sub(1));
    }
  }

  /** Trajectories through the states of {@link #sample}, in both coordinates. */
  Candidate.Trajectories trajectories(List<Tensor> states) {
    NoiseSchedule schedule = NoiseSchedule.of(config);
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
    List<Tensor> points = states.subList(0, count);
    return new Candidate.Trajectories(
        new Straightness.Trajectory(points, times), Straightness.rectified(points, alpha, sigma));
  }

  /** Noise level of every recorded state: the index into the schedule, negative for its end. */
  private int[] levels() {
    double[] timesteps = scheduler.timesteps();
    int[] levels = new int[timesteps.length + 1];
    for (int i = 0; i < timesteps.length; i++) {
      // a teacher is told the index, a PeRFlow student 1000 t, which is one more
      levels[i] = (int) timesteps[i] - (scheduler instanceof PerflowScheduler ? 1 : 0);
    }
    levels[timesteps.length] = -1;
    return levels;
  }
}
