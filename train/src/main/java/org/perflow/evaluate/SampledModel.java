package org.perflow.evaluate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.perflow.io.Fingerprint;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.pipeline.Sampled;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Tensor;

/**
 * A diffusion model and how it is sampled. The states of DDIM and PeRFlow lie on a path whose
 * straightness is measured.
 *
 * @param label names model and sampler, without the steps
 * @param model which stays the caller's
 * @param scheduler sampler by name, one of {@link SchedulerConfig#NAMES}, or {@link #OWN} for the
 *     model's own
 * @param steps sampling steps, as the sampler counts them
 * @param guidance classifier-free guidance scale, 1 for none
 */
public record SampledModel(
    String label, DiffusionModel model, String scheduler, int steps, double guidance)
    implements Candidate {
  /** The sampler of the model's folder. */
  public static final String OWN = "own";

  /** What draws it. */
  private Pipeline pipeline(DType compute) {
    Pipeline own = new Pipeline(model, compute);
    return scheduler.equals(OWN) ? own : own.withScheduler(scheduler);
  }

  private ObjectNode config() {
    return pipeline(DType.F32).model().schedulerConfig();
  }

  /** The time windows that a PeRFlow sampler draws through; empty for any other. */
  public OptionalInt windows() {
    ObjectNode config = config();
    return SchedulerConfig.isPerflow(config)
        ? OptionalInt.of(SchedulerConfig.windows(config))
        : OptionalInt.empty();
  }

  private boolean onPath() {
    String sampler = config().path("_class_name").asText();
    return sampler.equals(SchedulerConfig.DDIM) || sampler.equals(SchedulerConfig.PERFLOW);
  }

  /** One a timestep; twice that with guidance, unless the network embeds its guidance. */
  @Override
  public int networkEvaluations() {
    return pipeline(DType.F32)
        .networkEvaluations(Request.of("").withSteps(steps).withGuidance(guidance));
  }

  @Override
  public Drawn draw(List<Case> cases, DType compute) {
    Drawing drawing = new Drawing(pipeline(compute), guidance, steps, compute);
    Sampled sampled = drawing.sample(cases);
    long begin = System.nanoTime();
    Tensor pictures = drawing.decode(sampled.latents()).to(Device.CPU); // waits for the device
    double decodeSeconds = (System.nanoTime() - begin) / 1e9;
    return new Drawn(sampled.latents().to(Device.CPU), pictures, sampled.seconds(), decodeSeconds);
  }

  @Override
  public Optional<Trajectories> trajectories(List<Case> cases, int otherSteps, DType compute) {
    if (!onPath()) {
      return Optional.empty();
    }
    Drawing drawing = new Drawing(pipeline(compute), guidance, otherSteps, compute);
    return Optional.of(drawing.trajectories(drawing.sample(cases).states()));
  }

  @Override
  public Optional<String> fingerprint() {
    List<String> parts = new ArrayList<>();
    parts.add(Fingerprint.of(model.unet()));
    parts.add(Fingerprint.of(model.vae()));
    parts.add(Fingerprint.of(model.textEncoder()));
    DiffusionModel.Second second = model.second();
    parts.add(second == null ? "" : Fingerprint.of(second.textEncoder()));
    parts.add(model.vae().config() + " " + model.schedulerConfig());
    parts.add(scheduler + " " + steps + " " + guidance);
    return Optional.of(Fingerprint.of(parts));
  }
}
