package org.perflow.flow.sampler;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Arrays;
import java.util.List;
import java.util.stream.LongStream;
import org.perflow.flow.Affine;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.TimeWindows.Window;
import org.perflow.io.Json;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Tensor;

/**
 * PeRFlow's sampler (arXiv 2405.07510, section 3.3): the Euler method on a flow that is straight in
 * each of K windows. N ≥ K steps are shared out evenly; the noisiest N mod K windows get one more.
 * A window whose network output is constant ends in the same place whatever N.
 */
public final class PerflowScheduler implements Scheduler {
  private final PiecewiseFlow flow;
  private final long[] timesteps;

  /**
   * A sampler of {@code steps} steps.
   *
   * @throws IllegalArgumentException with fewer steps than windows
   */
  public PerflowScheduler(PiecewiseFlow flow, int steps) {
    int count = flow.windows().count();
    if (steps < count) {
      throw new IllegalArgumentException(
          String.format(
              "got %d steps for a PeRFlow model of %d time windows; every window needs at least one:"
                  + " use %d, %d, %d or any number above",
              steps, count, count, count + 1, count + 2));
    }
    this.flow = flow;
    this.timesteps = timesteps(flow.windows(), flow.schedule().size(), steps);
    if (LongStream.of(timesteps).distinct().count() < steps) {
      throw new IllegalArgumentException(
          "got " + steps + " steps: more than there are timesteps in a window; use fewer");
    }
  }

  /**
   * As a {@code scheduler_config.json} says: {@code num_time_windows} (4), {@code prediction_type}
   * (must be there), and the keys of {@link NoiseSchedule#of(JsonNode)}. {@code t_noise} is
   * ignored, as in the official code; {@code t_clean} must be 0.
   */
  public static PerflowScheduler of(JsonNode config, int steps) {
    return new PerflowScheduler(flow(config), steps);
  }

  /** The flow that a PeRFlow {@code scheduler_config.json} describes. */
  public static PiecewiseFlow flow(JsonNode config) {
    if (!config.path("prediction_type").isTextual()) {
      throw new IllegalArgumentException(
          "a PeRFlow scheduler config lacks prediction_type: say ddim_eps, diff_eps or velocity,"
              + " whichever the model was trained with");
    }
    if (config.path("t_clean").asDouble(0) != 0) {
      throw new IllegalArgumentException(
          "t_clean is " + config.path("t_clean") + "; only 0 is supported");
    }
    return new PiecewiseFlow(
        NoiseSchedule.of(config),
        new TimeWindows(SchedulerConfig.windows(config)),
        Parameterization.parse(config.path("prediction_type").asText()));
  }

  /**
   * The {@code scheduler_config.json} of a student: the teacher's noise schedule, every key written
   * out so that no class default can change its meaning.
   *
   * @param teacher the teacher's scheduler config
   * @param setAlphaToOne whether the flow ends at ᾱ = 1 instead of ᾱ[0]; the official Python
   *     sampler knows ᾱ[0] only
   */
  public static ObjectNode config(
      JsonNode teacher, TimeWindows windows, Parameterization kind, boolean setAlphaToOne) {
    ObjectNode config = Json.MAPPER.createObjectNode();
    config.put("_class_name", SchedulerConfig.PERFLOW);
    SchedulerConfig known = SchedulerConfig.of(teacher);
    config.put("num_train_timesteps", known.integer("num_train_timesteps"));
    config.put("beta_start", known.number("beta_start"));
    config.put("beta_end", known.number("beta_end"));
    config.put("beta_schedule", known.text("beta_schedule"));
    JsonNode trained = teacher.path("trained_betas");
    config.set("trained_betas", trained.isArray() ? trained.deepCopy() : config.nullNode());
    if (teacher.path("rescale_betas_zero_snr").asBoolean(false)) {
      config.put("rescale_betas_zero_snr", true);
    }
    config.put("set_alpha_to_one", setAlphaToOne);
    config.put("prediction_type", kind.key());
    config.put("t_noise", 1);
    config.put("t_clean", 0);
    config.put("num_time_windows", windows.count());
    return config;
  }

  /**
   * n points of each window, its end excluded, as trunc(T t). The sum in double falls a hair short
   * of some round times, so that K = 4, N = 20 says 99 where 100 is meant: harmless, since steps
   * are as long as the integers say, and kept so that timesteps equal the official ones.
   */
  private static long[] timesteps(TimeWindows windows, int size, int steps) {
    long[] timesteps = new long[steps];
    int next = 0;
    List<Window> order = windows.noisyToClean();
    for (int i = 0; i < order.size(); i++) {
      int inWindow = steps / order.size() + (i < steps % order.size() ? 1 : 0);
      Window window = order.get(i);
      double stride = (window.end() - window.start()) / inWindow;
      for (int j = 0; j < inWindow; j++) {
        timesteps[next++] = (long) ((j * stride + window.start()) * size);
      }
    }
    return timesteps;
  }

  /** The flow being followed. */
  public PiecewiseFlow flow() {
    return flow;
  }

  @Override
  public double[] timesteps() {
    return Arrays.stream(timesteps).asDoubleStream().toArray();
  }

  @Override
  public Tensor step(Tensor output, int index, Tensor z, NoiseSource noise) {
    double size = flow.schedule().size();
    double next = index + 1 < timesteps.length ? timesteps[index + 1] : 0;
    double dt = (next - timesteps[index]) / size; // negative: towards data
    Affine velocity = flow.velocity(timesteps[index] / size);
    return new Affine(1 + dt * velocity.a(), dt * velocity.b()).apply(z, output);
  }

  /**
   * {@inheritDoc}
   *
   * <p>Inside a window that is the point of the chord between its ends, not the diffusion state:
   * there the two differ.
   */
  @Override
  public Tensor addNoise(Tensor z0, Tensor noise, int index) {
    int size = flow.schedule().size();
    double t = timesteps[index] / (double) size;
    Window window = flow.windows().at(t);
    NoiseSchedule schedule = flow.schedule();
    int start = window.startIndex(size);
    int end = window.endIndex(size);
    Affine chord = flow.between(t);
    return new Affine(
            chord.a() * schedule.alpha(start) + chord.b() * schedule.alpha(end),
            chord.a() * schedule.sigma(start) + chord.b() * schedule.sigma(end))
        .apply(z0, noise);
  }

  @Override
  public String toString() {
    return "perflow " + flow.parameterization().key() + " " + Arrays.toString(timesteps);
  }
}
